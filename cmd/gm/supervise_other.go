//go:build !linux

package main

import "runtime/debug"

// settleDown gives memory back that only the work of a supervisor needed.
func settleDown() { debug.FreeOSMemory() }
