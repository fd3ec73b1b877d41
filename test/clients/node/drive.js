// Calls Mixpanel's client for Node.js for a test. The standard input is a list
// of calls, made one after another:
//
//   {"config":{…},"calls":[["track","Signed up",{…}],["people.set","id",{…}],…]}
//
// For each a line is written when it was answered: {"call":…,"error":…}, with
// what the client makes of the answer. With "retry" a call is made again until
// the client is content. {"$date":…} in arguments is a Date.
"use strict";

const Mixpanel = require("mixpanel");

const quiet = () => {};
const logger = { trace: quiet, debug: quiet, info: quiet, warn: quiet, error: quiet };

function dates(value) {
  if (Array.isArray(value)) {
    return value.map(dates);
  }
  if (value === null || typeof value !== "object") {
    return value;
  }
  if ("$date" in value) {
    return new Date(value.$date);
  }
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, dates(v)]));
}

function message(error) {
  const errors = [error].flat().filter(Boolean);
  return errors.length ? errors.map((e) => e.message ?? String(e)).join("; ") : null;
}

function call(client, name, args) {
  const path = name.split(".");
  const method = path.pop();
  const target = path.reduce((o, key) => o[key], client);
  return new Promise((resolve) => {
    try {
      target[method](...args.map(dates), (error) => resolve(message(error)));
    } catch (error) {
      resolve(message(error));
    }
  });
}

async function main() {
  let input = "";
  for await (const chunk of process.stdin) {
    input += chunk;
  }
  const { token, config, serviceAccount, retry, calls } = JSON.parse(input);
  if (serviceAccount) {
    config.credentials = new Mixpanel.ServiceAccountCredentials(...serviceAccount);
  }
  const client = Mixpanel.init(token, { logger, ...config });
  for (const [name, ...args] of calls) {
    let error = await call(client, name, args);
    while (error && retry) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      error = await call(client, name, args);
    }
    process.stdout.write(JSON.stringify({ call: name, error }) + "\n");
  }
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
