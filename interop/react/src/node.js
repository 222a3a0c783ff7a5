// The drill in Node: its settings are one JSON argument, its report is one line
// of output.
import { drill } from "./drill.js";

// A browser's localStorage, as far as the client uses it.
const kept = new Map();
const storage = {
  getItem: (key) => kept.get(key) ?? null,
  setItem: (key, value) => { kept.set(key, String(value)); },
  removeItem: (key) => { kept.delete(key); },
};

console.log(JSON.stringify(await drill({ ...JSON.parse(process.argv[2]), storage })));
