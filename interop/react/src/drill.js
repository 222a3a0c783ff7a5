// The drill: the access token runs out, then several calls start at the same
// moment, as a page does that opens with several parts. Again and again, and each
// time somebody counts whether the person is still signed in.
import { createClient } from "./client.js";

// PATIENCE bounds the attempts of what must work in the end whatever the network
// does: the sign-in, and the last call.
const PATIENCE = 50;

// How far the page's clock is ahead of the machine's, in milliseconds.
let ahead = 0;
const wallClock = Date.now.bind(Date);
Date.now = () => wallClock() + ahead;

// advance moves the server's clock, and sets the page's to the same time.
async function advance(baseURL, seconds) {
  const response = await fetch(baseURL + "/dev/clock", { method: "POST", body: JSON.stringify({ advance: `${seconds}s` }) });
  if (!response.ok) {
    throw new Error(`the clock was answered ${response.status}`);
  }
  ahead = Date.parse((await response.json()).now) - wallClock();
}

// atLast repeats something that a bad network may spoil.
async function atLast(what) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await what();
    } catch (error) {
      if (attempt === PATIENCE) {
        throw error;
      }
    }
  }
}

// drill runs rounds and reports what became of them: rounds in which the person
// was sent to the sign-in page, what the server said then, calls that were answered and calls
// that failed, and the claims of the tokens at the end.
export async function drill({ baseURL, tokenPath, storage, rounds, calls, seconds }) {
  const report = { rounds: 0, signedOut: 0, why: {}, answered: 0, failed: 0, silent: 0, rotations: 0, user: null };
  let sentAway = false;
  const client = createClient({
    baseURL, tokenPath, storage,
    onSignedOut: (why) => {
      sentAway = true;
      report.why[why] = (report.why[why] ?? 0) + 1;
    },
  });
  const signIn = async () => { report.user = await atLast(() => client.signIn("demo", "demo-password")); };
  const call = () => client.api.get("/demo/api");
  await advance(baseURL, 0);
  await signIn();
  for (; report.rounds < rounds; report.rounds++) {
    const before = storage.getItem("refresh");
    await advance(baseURL, seconds);
    const results = await Promise.allSettled(Array.from({ length: calls }, call));
    const answered = results.filter(({ status }) => status === "fulfilled").length;
    report.answered += answered;
    report.failed += calls - answered;
    if (answered === 0) {
      report.silent++;
    }
    if (sentAway || !client.signedIn()) {
      report.signedOut++;
      await signIn();
      sentAway = false;
    } else if (storage.getItem("refresh") !== before) {
      report.rotations++;
    }
  }
  await atLast(call);
  report.claims = client.claims();
  return report;
}
