package units_test

import (
	"fmt"
	"log"
	"os"
	"time"

	"gm/diag"
	"gm/units"
)

func Example() {
	command, err := units.NewCommand("", []units.Spec{"/usr/bin/node", "app.js", "--title", units.Escape("100% mine")})
	if err != nil {
		log.Fatal(err)
	}
	u := units.Unit{Name: "web.service", Directives: []units.Directive{
		{Section: "Service", Key: "RestartSec", Value: units.Span(1600 * time.Millisecond)},
		{Section: "Service", Key: "ExecStart", Value: command},
		{Section: "Unit", Key: "Description", Value: units.Text("web")},
	}}
	u.Sort()
	os.Stdout.Write(units.Render(u))
	// Output:
	// [Unit]
	// Description=web
	//
	// [Service]
	// ExecStart=/usr/bin/node app.js --title "100%% mine"
	// RestartSec=1s 600ms
}

func ExampleParse() {
	src := diag.NewSource("web.service", []byte("[Service]\nEnvironment=A=1 \"B=two words\"\nRestrat=always\n"))
	u, list := units.Parse("web.service", src)
	for _, d := range u.Directives {
		fmt.Printf("%s: %T %s\n", d.Key, d.Value, units.Encode(d.Value))
	}
	diag.Print(os.Stdout, list, diag.Style{})
	// Output:
	// Environment: units.Assign A=1
	// Environment: units.Assign "B=two words"
	// Restrat: units.Raw always
	// web.service:3:1: warning: Restrat= is no directive of [Service] that gm knows [unknown-directive]
	//     Restrat=always
	//     ^~~~~~~
	//     fix: did you mean Restart=?
}
