// Drives Chromium for a test: each line of the standard input is a command,
// {"do":…}, and is answered by one line, {"value":…} or {"error":…}.
//
//   open   {"page":"a","url":"http://…"}   opens a page, or leads one elsewhere
//   run    {"page":"a","js":"…"}           runs the body of an async function in it
//   close  {"page":"a"}                    closes it as somebody who closes a tab
//
// The end of the input closes the browser, whose program is CHROMIUM and whose
// profile the empty directory PROFILE, in the environment. What pages complain
// of is written to the standard error.
"use strict";

const readline = require("readline");
const { chromium } = require("playwright-core");

const args = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

async function main() {
  const browser = await chromium.launchPersistentContext(process.env.PROFILE, {
    executablePath: process.env.CHROMIUM,
    headless: true,
    args,
    timeout: 120_000,
  });
  browser.setDefaultTimeout(60_000);
  const pages = new Map();

  const commands = {
    async open({ page, url }) {
      if (!pages.has(page)) {
        const opened = await browser.newPage();
        opened.on("console", (m) => console.error(`${page}: ${m.text()}`));
        opened.on("pageerror", (e) => console.error(`${page}: ${e}`));
        pages.set(page, opened);
      }
      await pages.get(page).goto(url);
    },
    run: ({ page, js }) => pages.get(page).evaluate(`(async () => {${js}\n})()`),
    async close({ page }) {
      const closed = pages.get(page).waitForEvent("close");
      await pages.get(page).close({ runBeforeUnload: true });
      await closed;
      pages.delete(page);
    },
  };

  try {
    for await (const line of readline.createInterface({ input: process.stdin })) {
      const command = JSON.parse(line);
      let answer;
      try {
        answer = { value: (await commands[command.do](command)) ?? null };
      } catch (e) {
        answer = { error: String(e) };
      }
      process.stdout.write(JSON.stringify(answer) + "\n");
    }
  } finally {
    await browser.close();
  }
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
