package gm

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"gm/disk"
	"gm/engine"
	"gm/preload"
)

// installPreload puts the script that Node is to load where units name it, if they do.
func (c *Conn) installPreload(have *engine.State, p *engine.Plan) error {
	path, named := preload.System, preload.System
	if c.engine.Dirs().User {
		path, named = filepath.Join(c.machine().Getenv("HOME"), preload.User), "%h/"+preload.User
	}
	wanted := false
	for i := range have.Files {
		wanted = wanted || bytes.Contains(have.Files[i].Text, []byte(named))
	}
	for _, a := range p.Apps {
		for _, f := range a.Files {
			wanted = wanted || f.New != nil && strings.Contains(*f.New, named)
		}
	}
	if !wanted {
		return nil
	}
	if err := writePreload(path); err != nil {
		return fmt.Errorf("cannot write what Node is to load: %w", err)
	}
	return nil
}

// writePreload writes the script, unless it is there.
func writePreload(path string) error {
	text, err := os.ReadFile(path)
	if err == nil && bytes.Equal(text, preload.Text) {
		return nil
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	stage, err := os.MkdirTemp(dir, ".preload-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(stage)
	staged, real := filepath.Join(stage, filepath.Base(path)), disk.Real{}
	for _, step := range []func() error{
		func() error { return real.Create(staged, 0o644, preload.Text) },
		func() error { return real.Sync(staged) },
		func() error { return real.Rename(staged, path) },
		func() error { return real.Sync(dir) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
