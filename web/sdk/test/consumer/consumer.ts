// A program in TypeScript that uses the package by its name, as strictly as can be: it is compiled, never run. It needs no
// types but the package's own, neither those of browsers nor of Node.

import { BrowserStore, Fold, NoStore, RoomlogError, connect, emojiOf, isLine } from "roomlog";
import type { Append, AppendOptions, Entry, Folded, Log, Options, Outcome, Room, Status, Store, Who } from "roomlog";

declare const SomeSocket: new (url: string, protocol: string) => never;

const kept: Append[] = [];
const store: Store = {
  load: async () => kept,
  put: append => void kept.push(append),
  remove: append => void kept.splice(kept.indexOf(append), 1),
};
const options: Options = { author: "ada", store, WebSocket: SomeSocket };
const log: Log = connect("http://127.0.0.1:7400", options);
const room: Room = log.room("general", { count: 20 });
const fold = new Fold();

const endEntries: () => void = room.on("entries", (entries: Entry[]) => {
  const changed: Set<number> = fold.take(entries);
  for (const entry of entries) {
    if (!isLine(entry)) continue;
    const { body, edited, reactions }: Folded = fold.of(entry);
    const authors: string[] | undefined = reactions.get(emojiOf("❤"));
    const text: `${string}` = `${entry.slot} ${entry.author} ${body} ${edited} ${authors?.length} ${changed.size}`;
    void text;
  }
  for (const slot of changed) {
    const earlier = room.timeline.get(slot);
    if (earlier) show(fold.of(earlier));
  }
});
function show({ entry, body, edited, gone, reactions }: Folded): [number, string, boolean, boolean, number] {
  return [entry.slot, body, edited, gone, reactions.get(emojiOf("❤"))?.length ?? 0];
}
room.on("gap", ({ first, last }) => void room.before(last - first + 1, last + 1));
room.on("reset", (why: "new_log" | "diverged") => void why);
room.on("pending", (pending: Append[]) => void pending);
room.on("error", (error: RoomlogError) => void error.code);
log.on("heads", heads => void (heads["general"] satisfies number | undefined));
log.on("log", (id: string) => void id);
log.on("settled", (outcome: Outcome) => {
  if ("error" in outcome) void outcome.error.message;
  else void outcome.appended.slot;
});
log.on("status", (status: Status) => {
  if (status.state === "offline") void (status.reason satisfies string);
  if (status.state === "refused") void (status.error.code satisfies string);
});

export async function run(): Promise<number> {
  const more: AppendOptions = { ref: 3, kind: "reaction" };
  const { slot, repeat }: { slot: number; repeat?: boolean } = await room.append("👍", more);
  const older: Entry[] = [...await room.before(10), ...await room.around(slot), ...await room.behind(slot)];
  // @ts-expect-error a body is text
  void room.append(5).catch(() => {});
  // @ts-expect-error there is no such event
  room.on("entry", () => {});
  endEntries();
  room.leave();
  log.watch();
  const who: Who = { getToken: async () => "…" };
  log.login(who);
  log.login({ session: true });
  const me: string | null = log.author, auth: "open" | "token" | null = log.auth;
  void [me, auth];
  log.close();
  new NoStore() satisfies Store;
  new BrowserStore("ws://127.0.0.1:7400/v1/ws") satisfies Store;
  const latest: number = room.timeline.latest, last: number | null = room.last;
  return older.length + latest + (last ?? 0) + (repeat ? 1 : 0);
}
