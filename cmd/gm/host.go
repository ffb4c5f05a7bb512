package main

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/spf13/cobra"

	"gm/diag"
	"gm/machine"
	"gm/translate"
)

func newHostCmd(c *caller) *cobra.Command {
	o := &inputOptions{}
	cmd := &cobra.Command{
		Use:   "host [FILE]",
		Short: "Print this machine's facts, as --host reads them",
		Long: `Host prints, as JSON, the facts of this machine that units depend on: how many
CPUs, which systemd, where programs are, which accounts and files exist. With a
declaration (FILE, or the one that is found here) it holds what that
declaration asks for, and no more; without one, the usual interpreters.

With --host, gen and check take the facts from such a file and ask nothing of
the machine they run on, so that they give the same bytes everywhere.`,
		Example: "  gm host ecosystem.config.js > host.json\n  gm host --cpus 8 --root /srv/shop",
		Args:    arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.args = args
			if err := o.validate(cmd); err != nil {
				return err
			}
			return c.printHost(o)
		},
	}
	o.addFlags(cmd)
	c.completeInput(cmd)
	return cmd
}

// interpreters are the programs a host file holds when no declaration says
// which ones it needs.
var interpreters = []string{"node", "bun", "bash", "sh", "python3", "python", "ruby", "php", "perl", "npm", "npx", "yarn", "pnpm"}

func (c *caller) printHost(o *inputOptions) error {
	host, err := c.hostOf(o)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(host); err != nil {
		return err
	}
	return c.write(out.Bytes())
}

// hostOf returns the facts that the declaration asks for, or general ones when
// there is none.
func (c *caller) hostOf(o *inputOptions) (translate.Host, error) {
	d, err := c.declaration(o.args)
	var none *failure
	if errors.As(err, &none) && none.code == machine.CodeNoDeclaration && len(o.args) == 0 {
		host, err := c.host(o, c.dir)
		if ask := host.Probe.Program; err == nil && ask != nil {
			host.Programs = map[string]string{}
			for _, name := range interpreters {
				if path := ask(name); path != "" {
					host.Programs[name] = path
				}
			}
		}
		return host, err
	}
	if err != nil {
		return translate.Host{}, err
	}

	var r recorder
	compiled, err := c.compileDeclaration(o, d, &r)
	if err != nil {
		return translate.Host{}, err
	}
	// Notes are about the units, which nobody asked for here.
	var told diag.List
	for _, m := range compiled.list {
		if m.Severity != diag.Note || m.Code == machine.CodeSeveral {
			told = append(told, m)
		}
	}
	c.print(told)
	if status := status(compiled.list); status != statusDone {
		// Facts of a declaration that cannot be read are not all of them.
		return translate.Host{}, exit(status)
	}
	return r.facts(compiled.host), nil
}
