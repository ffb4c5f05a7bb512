package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"gm/diag"
)

type checkOptions struct {
	inputOptions
	format string
}

func newCheckCmd(c *caller) *cobra.Command {
	o := &checkOptions{}
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Report what is wrong with a declaration, or means something else than it seems",
		Long: `Check compiles a declaration and prints what there is to say about it on
standard output: errors, warnings and notes, each with its place, its cause and
what to do. It writes nothing else.

FILE is a declaration, a directory that holds one, or - for standard input;
without it one is looked for here.`,
		Example: "  gm check\n  gm check ecosystem.config.js --env production --strict\n  gm check processes.json --format json",
		Args:    arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.args = args
			if err := o.validate(cmd); err != nil {
				return err
			}
			if o.format != "text" && o.format != "json" {
				return usage("write --format text or --format json", "--format %s: text or json expected", o.format)
			}
			return c.check(o)
		},
	}
	o.addFlags(cmd)
	cmd.Flags().StringVar(&o.format, "format", "text", "how to print: text or json")
	must(cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)))
	c.completeInput(cmd)
	return cmd
}

func (c *caller) check(o *checkOptions) error {
	var list diag.List
	result := statusDone
	compiled, err := c.compile(&o.inputOptions)
	var f *failure
	switch {
	case err == nil:
		list = compiled.list
		result = status(list)
	case errors.As(err, &f) && o.format == "json":
		// A program that reads the list gets every failure in it.
		list, result = diag.List{f.diagnostic()}, f.status
	default:
		return err
	}

	var out bytes.Buffer
	if o.format == "json" {
		err = diag.PrintJSON(&out, list)
	} else {
		diag.Print(&out, list, c.style(c.out))
	}
	if err == nil {
		err = c.write(out.Bytes())
	}
	if err != nil {
		return err
	}
	if o.format == "text" {
		fmt.Fprintln(c.err, summary(list))
	}
	if result != statusDone {
		return exit(result)
	}
	return nil
}

// summary counts the diagnostics: "2 errors, 1 warning".
func summary(list diag.List) string {
	var count [3]int
	for _, d := range list {
		count[d.Severity]++
	}
	var parts []string
	for severity, n := range count {
		switch {
		case n == 1:
			parts = append(parts, fmt.Sprintf("1 %s", diag.Severity(severity)))
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %ss", n, diag.Severity(severity)))
		}
	}
	if parts == nil {
		return "no errors"
	}
	return strings.Join(parts, ", ")
}
