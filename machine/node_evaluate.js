// Run by node for declarations that gm cannot evaluate itself. Arguments: the
// file, its directory here, and that directory's name on the host. The JSON of
// the exports goes to descriptor 3; a failure leaves its message there and
// exit status 1.
'use strict';
const fs = require('fs');
const { pathToFileURL } = require('url');
const [file, here, there] = process.argv.slice(1);

function end(status, text) {
  fs.writeFileSync(3, text);
  process.exit(status);
}

// JSON has no word for these; as text, they say what the declaration said.
function represent(key, value) {
  if (typeof value === 'bigint' || typeof value === 'number' && !Number.isFinite(value)) return String(value);
  if (here !== there && typeof value === 'string' && (value === here || value.startsWith(here + '/'))) {
    return there + value.slice(here.length);
  }
  return value;
}

import(pathToFileURL(file)).then(async (module) => {
  // A CommonJS module's exports are the default; a compiled ES module has its
  // own default inside them.
  let exported = 'default' in module ? module.default : { ...module };
  if (exported && exported.__esModule && exported.default) exported = exported.default;
  exported = await exported;
  if (typeof exported === 'function') throw new Error('the declaration exports a function; an object or a list of apps was expected');
  const json = JSON.stringify(exported, represent);
  if (json === undefined) throw new Error('the declaration exports nothing');
  end(0, json);
}).catch((e) => end(1, e && e.message ? `${e.name}: ${e.message}` : String(e)));
