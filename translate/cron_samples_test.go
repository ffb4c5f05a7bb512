package translate

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// realCrons are expressions as they stand in real files and in manuals.
var realCrons = strings.Split(strings.TrimSpace(`
0 0 * * *
* * * * *
* * * * * *
*/5 * * * *
*/7 * * * *
*/10 * * * * *
*/15 * * * *
*/25 * * * *
*/30 * * * * *
0 */1 * * *
0 */2 * * *
0 */4 * * *
0 */5 * * *
0 */6 * * *
0 */7 * * *
0 */8 * * *
0 */12 * * *
0 */24 * * *
15 3 * * *
30 2 * * *
30 1 * * *
59 23 * * *
0 0,12 * * *
0 2,3 * * *
0 8,14,20 * * *
0,30 9-18 * * 1-5
*/10 9-17 * * MON-FRI
0 9-18/3 * * *
5-59/10 * * * *
1-59/2 * * * *
2/5 * * * *
3/20 * * * *
0 0 */2 * *
0 0 */7 * *
0 0 1 * *
0 0 1 1 *
0 0 1 */3 *
0 0 1 */2 *
0 0 1 1-12/2 *
0 0 1,15 * *
0 0 1,15,31 * *
0 0 1,30 * *
0 0 29 2 *
0 0 29 2 1
0 0 31 * *
0 0 30,31 * *
0 0 28-31 * *
0 0 31 1-12 *
0 0 31 12 *
0 0 1/6 * *
0 0 1/3 * *
0 0 5/10 * *
0 0 0/5 * *
0 0 30/1 * *
0 0 1 1/3 *
0 0 1 0/3 *
0 0 1 11/1 *
0 0 13 * FRI
0 0 8-14 * 1
0 0 1-7 * MON
0 0 1-31 * 5
0 12 L * *
0 0 L * 5
0 0 L 2 *
59 59 23 L 12 *
0 0 * * 0
0 0 * * 7
0 0 * * SUN
0 0 * * 6,0
0 0 * * 0,6
0 0 * * 6-7
0 0 * * 0-7
0 0 * * FRI-7
0 0 * * MON-7
0 0 * * MON-SAT
0 0 * * 1,3,5
0 0 * * */2
0 0 * * */3
0 0 * * */8
0 0 * * 1/2
0 0 * * 1/3
0 0 * * 3/4
0 0 * * MON/2
* * * * * 5,6,0,1
0 */2 * * 5
0 2 * * 0
0 3 * * SUN
0 4 * * Mon,Wed,Fri
0 0 * JAN,JUL *
0 0 * jan-mar *
0 0 1 janfeb *
0 0 1 1jan *
0 0 0 1 1 *
0 0 0 * * *
0 0 12 * * 1-5
0 15 10 L * *
0 0/5 14,18 * * *
30 0 * * * *
0/20 * * * * *
0/7 * * * * *
*/40 * * * * *
1,,2 0 * * *
,5 0 * * *
5* 0 * * *
5*3 0 * * *
1*-5 0 * * *
007 007 * * *
0 0 2,30 2,3 *
0 0 29-31 1-3 *
0 0 */30 * *
0 12 31 1,3,5 *
10,20,30 5-7 1-5 3-9 *
2028-03-01T12:00:00
2028-03-01T12:00:00Z
2028-12-31 23:59:59
2028/02/29 00:00:00+05:00
2199-12-31T23:59:59
1-5,10 * * * *
MON-FRI,SUN * * * *
0 0 * * MON-FRI,SUN
*/10,5 * * * *
0 0 * * FRI-MON
0 22-4 * * *
0 0 * * sat-sun
*/61 * * * *
0 */25 * * *
0 0 */32 * *
0 0 1 */13 *
0 0 * * */9
0 0 * * 8
0 24 * * *
60 * * * *
0 0 0 * *
0 0 32 * *
0 0 * 0 *
0 0 * 13 *
@daily
@reboot
@every 5m
0 0 * *
0 0 12 * * ? 2030
0 0 12 * * ?
0 0 12 ? * MON
0 0 L-3 * *
0 0 LW * *
0 0 15W * *
0 0 * * 5L
0 0 * * 1#2
0 0 15,L * *
H * * * *
0 0 * * MONDAY
0 0 1 JANUARY *
0 0 MON * *
TZ=UTC 0 0 * * *
CRON_TZ=Europe/Berlin 0 0 * * *
70/5 * * * *
/5 * * * *
** * * * *
, * * * *
0 0 31/5 * *
0 0 1 12/1 *
0 0 30 2 *
0 0 31 4 *
0 0 31 2,4,6,9,11 *
12:30
2028-03-01
2028-03-01 12:30
2027-02-29 00:00:00
2200-01-01 00:00:00
1-2-3 * * * *
*-5 * * * *
+5 * * * *
`), "\n")

// randomCron returns an expression of croner's grammar, now and then with
// something that it refuses.
func randomCron(r *rand.Rand) string {
	fields := cronFields[:]
	if r.IntN(3) > 0 {
		fields = fields[1:]
	}
	words := make([]string, len(fields))
	for i := range fields {
		words[i] = randomCronField(r, &fields[i])
	}
	return strings.Join(words, " ")
}

func randomCronField(r *rand.Rand, f *cronField) string {
	number := func() string {
		n := f.low + r.IntN(f.size())
		if i := n - f.low; i < len(f.names) && r.IntN(3) == 0 {
			return f.names[i][:3]
		}
		return fmt.Sprint(n)
	}
	between := func() string {
		low := f.low + r.IntN(f.size())
		return fmt.Sprintf("%d-%d", low, low+r.IntN(f.high-low+1))
	}
	switch r.IntN(24) {
	case 0, 1, 2, 3, 4:
		return "*"
	case 5, 6, 7, 8:
		return number()
	case 9, 10, 11, 12:
		list := []string{number()}
		for range 1 + r.IntN(4) {
			list = append(list, number())
		}
		return strings.Join(list, ",")
	case 13, 14, 15:
		return between()
	case 16, 17:
		return fmt.Sprintf("%s/%d", between(), 1+r.IntN(f.size()))
	case 18, 19:
		return fmt.Sprintf("*/%d", 1+r.IntN(f.size()))
	case 20, 21:
		return fmt.Sprintf("%s/%d", number(), 1+r.IntN(f.size()))
	case 22:
		if f.hasLast() {
			return "L"
		}
		return "*"
	default:
		odd := []string{"?", "L", "5*", "**", ",", "/3", "1,,2", "*,3", "3-1", "1-2,3", "*/99", "99", "0/2", "1/2/3", "x", "-", "1-3/0"}
		return odd[r.IntN(len(odd))]
	}
}
