// Writes where an app may, and says what came of it elsewhere.
const fs = require('fs');

const attempt = (file) => {
  try {
    fs.writeFileSync(file, 'x');
    return 'ok';
  } catch (error) {
    return error.code;
  }
};
const files = { cwd: 'written', etc: '/etc/gm-written', opt: '/opt/gm-written', tmp: '/tmp/gm-written' };
const result = Object.fromEntries(Object.entries(files).map(([key, file]) => [key, attempt(file)]));
fs.writeFileSync('result.new', JSON.stringify(result));
fs.renameSync('result.new', 'result');
setInterval(() => {}, 1000);
