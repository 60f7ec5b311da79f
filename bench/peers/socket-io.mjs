// Socket.IO with connection state recovery: node socket-io.mjs PORT
//
// Rooms, and in memory the next slot of each. An append goes to the followers, then its slot to the author.
import { createServer } from "node:http";
import { Server } from "socket.io";

const HOUR = 3_600_000;
const http = createServer();
const io = new Server(http, {
  transports: ["websocket"],
  serveClient: false,
  connectionStateRecovery: { maxDisconnectionDuration: 120_000, skipMiddlewares: true },
  // Followers that count do not answer pings.
  pingInterval: HOUR,
  pingTimeout: HOUR,
});
const slots = new Map();

io.on("connection", (socket) => {
  socket.on("join", (room, ack) => {
    socket.join(room);
    ack();
  });
  socket.on("append", (room, entry, ack) => {
    const slot = slots.get(room) ?? 0;
    slots.set(room, slot + 1);
    io.to(room).emit("entry", { slot, ...entry });
    ack(slot);
  });
});

http.listen(Number(process.argv[2]), "127.0.0.1");
