//go:build !linux

package main

import "errors"

func sharePort() error { return errors.New("ports are shared by Linux's cgroups only") }
