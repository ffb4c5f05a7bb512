package enginetest

import (
	"flag"
	"os"
	"strconv"
	"testing"
)

// TestMain allows as many tests at once as scenarios may run, not as many as there are
// CPUs, unless -parallel says how many.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", strconv.Itoa(most)); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
