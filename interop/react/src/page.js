// The drill in a browser: its settings stand in the page's address, its report
// goes to the page's own server.
import { drill } from "./drill.js";

const settings = JSON.parse(decodeURIComponent(location.hash.slice(1)));
let report;
try {
  report = await drill({ ...settings, storage: localStorage });
} catch (error) {
  report = { error: String(error?.stack ?? error) };
}
await fetch("/report", { method: "POST", body: JSON.stringify(report) });
