package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"gm"
	"gm/engine"
)

func newFlushCmd(c *caller) *cobra.Command {
	o := &engineOptions{}
	cmd := &cobra.Command{
		Use:   "flush [NAME…]",
		Short: "Empty the log files of apps",
		Long: `Flush empties the log files of apps, of all or of those that are named, and removes
what was rotated away from them. Apps that run write on into the same files.` + selectorHelp + `

Lines in systemd's journal are not an app's to remove: journald throws old ones
away by itself.`,
		Example: "  gm flush\n  gm flush web-api",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"all"}
			}
			return c.flush(o, args)
		},
	}
	o.addFlags(cmd)
	c.completeApps(cmd, cobra.ShellCompDirectiveNoFileComp)
	return cmd
}

func (c *caller) flush(o *engineOptions, selectors []string) error {
	ctx, stop := untilSignal()
	defer stop()
	return c.withSelected(ctx, o, lockOptions{}, (*gm.Conn).Observe, selecting(selectors...), func(conn *gm.Conn, have *engine.State, selected []engine.Selection) error {
		if len(selected) == 0 { // of "all"
			return c.write([]byte("Nothing is installed.\n"))
		}
		var out bytes.Buffer
		var failed []error
		for _, s := range selected {
			text, errs := emptied(engine.Sources(have, conn.Engine().Dirs(), []engine.Selection{s}))
			fmt.Fprintf(&out, "%s: %s\n", title(s), text)
			failed = append(failed, errs...)
		}
		if err := c.write(out.Bytes()); err != nil {
			return err
		}
		for _, err := range failed {
			remedy := ""
			if errors.Is(err, fs.ErrPermission) {
				remedy = "run it as root: sudo gm flush"
			}
			c.report(&failure{statusFailed, "failed", err.Error(), remedy})
		}
		if failed != nil {
			return exit(statusFailed)
		}
		return nil
	})
}

// emptied empties the files among an app's sources and says what became of its lines.
func emptied(sources []engine.LogSource) (text string, failed []error) {
	files, freed, inJournal, missing := 0, int64(0), false, false
	for i := range sources {
		s := &sources[i]
		if s.File == "" {
			inJournal = inJournal || !s.Manager
			continue
		}
		n, err := engine.EmptyLog(s)
		freed += n
		if errors.Is(err, fs.ErrNotExist) {
			missing = true
			continue
		}
		if err != nil {
			var file *engine.LogFileError
			if errors.As(err, &file) {
				err = fmt.Errorf("cannot empty %s: %w", file.Path, file.Err)
			}
			failed = append(failed, err)
			continue
		}
		files++
	}
	const journal = "in the journal, which throws old lines away by itself (journalctl --vacuum-time=1d does so now)"
	switch {
	case files > 0 && inJournal:
		return fmt.Sprintf("emptied %s, %s; the rest is %s", counted(files, "file"), size(freed), journal), failed
	case files > 0:
		return fmt.Sprintf("emptied %s, %s", counted(files, "file"), size(freed)), failed
	case failed != nil:
		return "its files were not emptied", failed
	case missing:
		return "it has no log file yet", nil
	case inJournal:
		return "its lines are " + journal, nil
	}
	return "it keeps no lines", nil
}
