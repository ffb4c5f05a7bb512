package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gm"
	"gm/engine"
	"gm/machine"
)

type uninstallOptions struct {
	manageOptions
	project string
	all     bool
}

func newUninstallCmd(c *caller) *cobra.Command {
	o := &uninstallOptions{}
	cmd := &cobra.Command{
		Use:   "uninstall [FILE|PROJECT|NAME…]",
		Short: "Stop and remove a project, or apps of one",
		Long: `Uninstall stops all apps of a project and removes its units, links and
environment files. It asks nothing, and prints what it removed. Log files and
what the apps wrote stay.

Without an argument the project is that of the declaration here; FILE, a
declaration or its directory, is another's. The declaration is not read: only
where it lies tells the project, or --project where gm install was given that.
PROJECT is the name of one that is installed, and any other NAME an app, as for
gm delete.`,
		Example: "  gm uninstall\n  gm uninstall shop\n  gm uninstall worker\n  gm uninstall --all",
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case o.all && (len(args) > 0 || o.project != ""):
				return usage("choose one", "--all takes every project, and %s is one", strings.Join(append(args, o.project), " "))
			case o.project != "" && len(args) > 0:
				return usage("leave one out", "--project %s and %q say what to remove", o.project, args[0])
			case cmd.Flags().Changed("project") && o.project == "":
				return usage("leave it out, or say which", "--project is empty")
			}
			return c.uninstall(o, args)
		},
	}
	cmd.Flags().StringVar(&o.project, "project", "", "the project of this `name`")
	o.addFlags(cmd)
	cmd.Flags().BoolVar(&o.all, "all", false, "every project of the system, or with --user of yours")
	o.addFlag(cmd)
	o.who = "gm uninstall"
	c.completeApps(cmd, cobra.ShellCompDirectiveDefault)
	return cmd
}

func (c *caller) uninstall(o *uninstallOptions, args []string) error {
	ctx, stop := untilSignal()
	defer stop()
	var projects, names []string
	switch {
	case o.project != "":
		projects = []string{o.project}
	case len(args) == 0 && !o.all:
		project, err := c.projectHere(nil)
		if err != nil {
			return err
		}
		projects = []string{project}
	}
	for _, arg := range args {
		isFile, err := c.isFile(arg)
		switch {
		case err != nil:
			return err
		case arg == "-":
			return usage("name the project", "standard input has no directory that tells its project")
		case isFile:
			project, err := c.projectHere([]string{arg})
			if err != nil {
				return err
			}
			projects = append(projects, project)
		default:
			names = append(names, arg)
		}
	}
	var selected []engine.Selection
	choose := func(have *engine.State) ([]engine.Selection, error) {
		installed := gm.Projects(have)
		if o.all {
			projects = installed
		}
		var selectors []string
		for _, name := range names {
			if slices.Contains(installed, name) {
				projects = append(projects, name)
			} else {
				selectors = append(selectors, name)
			}
		}
		for _, project := range projects {
			if !slices.Contains(installed, project) {
				remedy := "nothing is installed"
				if installed != nil {
					remedy = "these are installed: " + strings.Join(installed, ", ")
				}
				return nil, &failure{statusNoApp, "unknown-project", fmt.Sprintf("there is no project %s", project), remedy}
			}
		}
		var err error
		selected, err = engine.Select(have.Apps(), selectors)
		return selected, err
	}
	return c.withSelected(ctx, &o.engineOptions, o.lockOptions, (*gm.Conn).Observe, choose, func(conn *gm.Conn, _ *engine.State, _ []engine.Selection) error {
		var todo []func() error
		slices.Sort(projects)
		for _, project := range slices.Compact(projects) {
			todo = append(todo, func() error { return c.uninstallProject(ctx, conn, project) })
		}
		v := verbs[slices.IndexFunc(verbs, func(v *verb) bool { return v.name == "delete" })]
		for _, group := range engine.SplitProjects(selected) {
			if !slices.Contains(projects, group[0].App.Project) {
				todo = append(todo, func() error {
					return c.actOn(ctx, conn, v, &verbOptions{installOptions: installOptions{lockOptions: o.lockOptions}}, v.idle, group)
				})
			}
		}
		if todo == nil {
			return c.write([]byte("Nothing is installed.\n"))
		}
		return c.each(todo)
	})
}

// projectHere returns the project of a declaration, as compiling it would name it
// without --project and --root: after its directory.
func (c *caller) projectHere(args []string) (string, error) {
	d, err := c.declaration(args)
	if err != nil {
		var none *failure
		if errors.As(err, &none) && none.code == machine.CodeNoDeclaration {
			none.remedy = "name the project: gm uninstall PROJECT"
		}
		return "", err
	}
	if name := filepath.Base(d.Dir); name != "/" {
		return name, nil
	}
	return "root", nil
}

// uninstallProject removes one project.
func (c *caller) uninstallProject(ctx context.Context, conn *gm.Conn, project string) error {
	var p *engine.Plan
	err := c.carryOut(ctx, conn, gm.Change{Project: project, Outline: true, Plan: func(have *engine.State, _ []engine.Selection) (*engine.Plan, error) {
		p = engine.PlanUninstall(have, project)
		return p, nil
	}}, func(a *engine.AppPlan) string { return a.App + ": removed" })
	if err != nil {
		return err
	}
	files, links := 0, 0
	for _, a := range p.Apps {
		files += len(a.Files)
		links += len(a.Links)
	}
	return c.write(fmt.Appendf(nil, "Uninstalled %s: %s, %s and %s removed.\n", project,
		counted(p.Counts()[engine.Remove], "app"), counted(files, "file"), counted(links, "link")))
}
