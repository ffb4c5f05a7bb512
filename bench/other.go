//go:build !linux

// Command bench measures supervisors; it needs Linux.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: it needs Linux")
	os.Exit(1)
}
