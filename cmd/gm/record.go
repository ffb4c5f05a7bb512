package main

import (
	"gm/translate"
)

// recorder notes what a translation asks of this machine, and the answers: the
// facts that a host file must hold for the same declaration to compile to the
// same bytes elsewhere.
type recorder struct {
	programs map[string]string
	versions map[string]string
	accounts map[string]bool
	files    map[string]translate.FileKind
}

// attach puts the recorder between the questions and who answers them. A host
// from a file asks nothing, and its recorder stays empty.
func (r *recorder) attach(h *translate.Host) {
	ask := h.Probe
	if ask.Program == nil {
		return
	}
	*r = recorder{map[string]string{}, map[string]string{}, map[string]bool{}, map[string]translate.FileKind{}}
	h.Probe = translate.Probe{
		Program: func(name string) string {
			path := ask.Program(name)
			r.programs[name] = path
			return path
		},
		Version: func(program string) string {
			version := ask.Version(program)
			r.versions[program] = version
			return version
		},
		Account: func(kind, name string) bool {
			exists := ask.Account(kind, name)
			r.accounts[kind+" "+name] = exists
			return exists
		},
		File: func(path string) translate.FileKind {
			kind := ask.File(path)
			if kind != translate.FileUnknown {
				r.files[path] = kind
			}
			return kind
		},
	}
}

// facts adds what was recorded to h.
func (r *recorder) facts(h translate.Host) translate.Host {
	if r.programs != nil {
		h.Programs, h.Versions, h.Accounts, h.Files = r.programs, r.versions, r.accounts, r.files
	}
	return h
}
