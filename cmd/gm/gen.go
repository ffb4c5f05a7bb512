package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"gm/diag"
	"gm/disk"
	"gm/units"
)

type genOptions struct {
	inputOptions
	output string // a directory to write, or ""
	check  string // a directory to compare with, or ""
}

func newGenCmd(c *caller) *cobra.Command {
	o := &genOptions{}
	cmd := &cobra.Command{
		Use:   "gen [FILE]",
		Short: "Compile a declaration to systemd units",
		Long: `Gen compiles a declaration to systemd units and prints them as one txtar stream:
before each file a line with its name. With -o they become files of a
directory; with --check they are compared with those of a directory.

FILE is a declaration, a directory that holds one, or - for standard input;
without it one is looked for here.

-o changes the directory as a whole, or not at all (only SIGKILL in the middle can
leave it between; the next run repairs it): files that are as they should be are
not touched, files of the same project that no app needs any more
are removed, and files that gm did not write are never touched.`,
		Example: "  gm gen\n  gm gen ecosystem.config.js --env production -o units/\n  gm gen processes.json --env production --host host.json --check units/",
		Args:    arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.args = args
			changed := cmd.Flags().Changed
			switch {
			case changed("output") && changed("check"):
				return usage("choose one", "-o and --check exclude each other")
			case changed("output") && o.output == "":
				return usage("name a directory", "-o is empty")
			case changed("check") && o.check == "":
				return usage("name a directory", "--check is empty")
			}
			if err := o.validate(cmd); err != nil {
				return err
			}
			return c.gen(o)
		},
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "write the units to this `directory`")
	cmd.Flags().StringVar(&o.check, "check", "", "compare with this `directory`, print a unified diff, exit 1 when it differs")
	must(cmd.MarkFlagDirname("output"))
	must(cmd.MarkFlagDirname("check"))
	o.addFlags(cmd)
	c.completeInput(cmd)
	return cmd
}

func (c *caller) gen(o *genOptions) error {
	compiled, err := c.compile(&o.inputOptions)
	if err != nil {
		return err
	}
	c.print(compiled.list)
	if status := status(compiled.list); status != statusDone {
		return exit(status)
	}
	switch {
	case o.output != "":
		return c.writeDir(o, compiled.set)
	case o.check != "":
		return c.checkDir(o, compiled.set)
	}
	out := bufio.NewWriterSize(c.out, 1<<16)
	if err := units.WriteStream(out, compiled.set); err != nil {
		return c.outError(err)
	}
	return c.outError(out.Flush())
}

// writeDir makes a directory hold the units.
func (c *caller) writeDir(o *genOptions, set units.Set) error {
	lock := lockDir(c.realpath(o.output))
	defer lock.unlock()
	dir, err := c.survey(o.output, projectOf(set), files(set), o.only)
	if err != nil {
		return err
	}
	if len(dir.blocked) > 0 {
		c.print(dir.blocked)
		return exit(statusFailed)
	}
	edited := dir.edited
	if o.strict {
		edited = edited.Strict()
	}
	c.print(edited)
	if edited.HasErrors() {
		return exit(statusFailed)
	}
	ctx, stop := untilSignal()
	defer stop()
	if err := dir.write(ctx, disk.Real{}, lock); err != nil {
		return err
	}
	fmt.Fprintln(c.err, dir.summary())
	return nil
}

// untilSignal returns a context that ends with a signal to end, except those
// that the caller wants ignored, as nohup(1) does.
func untilSignal() (context.Context, context.CancelFunc) {
	var signals []os.Signal
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signals = append(signals, s)
		}
	}
	return signal.NotifyContext(context.Background(), signals...)
}

// checkDir compares a directory with the units.
func (c *caller) checkDir(o *genOptions, set units.Set) error {
	dir, err := c.survey(o.check, projectOf(set), files(set), o.only)
	if err != nil {
		return err
	}
	if !dir.exists {
		return &failure{statusDifferent, "cannot-read", fmt.Sprintf("there is no directory %s", dir.shown),
			"write it first, with -o in place of --check"}
	}
	difference := dir.diff()
	if len(difference) == 0 {
		return nil
	}
	if err := c.write(paintDiff(difference, c.style(c.out))); err != nil {
		return err
	}
	return exit(statusDifferent)
}

// projectOf returns the project whose mark the units bear.
func projectOf(set units.Set) string {
	for _, u := range set {
		if mark, ok := u.Mark(); ok {
			return mark.Project
		}
	}
	return ""
}

// paintDiff colours a unified diff.
func paintDiff(text []byte, style diag.Style) []byte {
	if !style.Color {
		return text
	}
	var out bytes.Buffer
	for line := range bytes.Lines(text) {
		body, end := bytes.CutSuffix(line, []byte("\n"))
		colour := map[byte]string{'-': "\x1b[31m", '+': "\x1b[32m", '@': "\x1b[36m"}[line[0]]
		if colour == "" {
			out.Write(line)
			continue
		}
		out.WriteString(colour)
		out.Write(body)
		out.WriteString("\x1b[0m")
		if end {
			out.WriteByte('\n')
		}
	}
	return out.Bytes()
}
