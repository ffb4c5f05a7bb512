//go:build !linux

package main

import (
	"errors"
	"os"
)

func statFile(path string) fileFacts {
	info, err := os.Stat(path)
	if err != nil {
		return fileFacts{err: err}
	}
	return fileFacts{mode: info.Mode(), modified: info.ModTime(), acl: true} // owners are not looked at
}

func diskOf(path string) diskFacts  { return diskFacts{path: path, err: errors.ErrUnsupported} }
func readCgroup(bool) cgroupFacts   { return cgroupFacts{} }
func probeSharePort() error         { return errors.ErrUnsupported }
func readPorts() (portTable, error) { return portTable{}, errors.ErrUnsupported }
