// A client of more rooms than the server allows per connection.

import assert from "node:assert/strict";
import { test } from "node:test";

import { clients, outcomes } from "./clients.js";
import { until } from "./wait.js";

const made = clients(["--rooms-per-connection", "5"]);

test("appends to more rooms than a connection may have are sent over several connections, in order, once each", async () => {
  const ada = made.as("ada"), followed = ada.room("followed");
  const rooms = Array.from({ length: 23 }, (_, n) => {
    const room = ada.room(`room-${n}`);
    room.leave();
    return room;
  });
  const all = [0, 1].flatMap(n => [...rooms.map(room => room.append(String(n))), followed.append(String(n))]);
  assert.deepEqual(await outcomes(all), [...Array(24).fill(0), ...Array(24).fill(1)]);
  await until(() => followed.last === 1);
  for (const { name } of rooms) assert.deepEqual(await made.bodies(name), ["0", "1"]);
});

test("at the limit of followed rooms, one more is refused with an error", async () => {
  const ada = made.as("ada"), rooms = Array.from({ length: 5 }, (_, n) => ada.room(`room-${n}`));
  await until(() => rooms.every(room => room.last !== null));
  const sixth = ada.room("sixth"), refused = new Promise(tell => sixth.on("error", tell));
  assert.equal(/** @type {any} */ (await refused).code, "too_large");
  assert.deepEqual(await outcomes(rooms.map(room => room.append("x"))), [0, 0, 0, 0, 0]);
});
