// Prints what dayjs makes of many formats, for TestFormatTime:
//
//     npm i dayjs@1.11.15 && node dayjs.cjs > dayjs.json
const dayjs = require('dayjs');
const layouts = [
  '', 'YYYY-MM-DD HH:mm:ss', 'YYYY-MM-DD HH:mm:ss.SSS Z', 'YYYY-MM-DDTHH:mm:ssZZ', 'YY/M/D H:m:s', 'MMM D, YYYY h:mm A',
  'MMMM DD dddd hh:mm:ss a', 'ddd dd d D', '[on] YYYY [at] HH', '[] [x', 'YYYYY MMMMM DDD ddddd HHH hhh aaa AA mmm sss SSS SS S SSSS ZZZ',
  'Y YYY', 'DD.MM.YYYY HH:mm:ss,SSS', 'Do Q k kk X x w gggg', "T\\T'q' ü 😀 %Y", '[nested [a] b]', 'YYYYMMDDHHmmssSSS',
  '[YYYY]YYYY', ']Z[', 'L LT LLL',
];
const times = [0, 1790000000123, 1764000000999, 951782400000, 1711846799000, 1711846800001, -1, 4102444799999, 1577880000000];
const out = {};
// Node reads TZ anew when it is assigned.
for (const zone of ['UTC', 'Asia/Kathmandu', 'America/St_Johns', 'Europe/Berlin']) {
  process.env.TZ = zone;
  out[zone] = times.map((t) => ({ t, formatted: Object.fromEntries(layouts.map((l) => [l, dayjs(t).format(l)])) }));
}
console.log(JSON.stringify(out, null, 1));
