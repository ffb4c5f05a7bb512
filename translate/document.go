package translate

import (
	"gm/diag"
)

// document is what a declaration file says: its apps in order and the
// file-level keys.
type document struct {
	apps   []*value // each kindObject
	deploy *value   // the "deploy" object or nil
	static *value   // the "static" value or nil
	rest   []member // other top-level keys beside apps (unknown), with places
	format format
}

var (
	codeNotADeclaration = &Code{
		Name: "not-a-declaration", Severity: diag.Error,
		Doc:     "the file holds a value, but none of the shapes that PM2 takes for apps",
		Example: `{"agents": [{"id": 1}]}`,
	}
	codeNotAnApp = &Code{
		Name: "not-an-app", Severity: diag.Error,
		Doc:     "an entry of the list of apps is no object",
		Example: `{"apps": ["web.js"]}`,
	}
	codeNoApps = &Code{
		Name: "no-apps", Severity: diag.Note,
		Doc:     "the declaration is well formed and declares no app",
		Example: `{"apps": []}`,
	}
)

const shapeRemedy = `write {"apps": [{"name": "web", "script": "web.js"}]}`

// shape finds the apps in a declaration's value, as API._startJson of PM2 does:
// an array of apps, {apps: …}, {pm2: …} or one app.
func (r *reader) shape(root *value, lang format) *document {
	doc := &document{format: lang}
	switch root.kind {
	case kindArray:
		if len(root.items) == 0 {
			r.m.add(codeNotADeclaration, root.at, shapeRemedy, "an empty list declares no app")
			return nil
		}
		if isDump(root.items) {
			doc.format = formatDump
			doc.apps = r.readDump(root.items)
			return doc
		}
		doc.apps = r.appList(root.items)
		return doc
	case kindObject:
	default:
		r.m.add(codeNotADeclaration, root.at, shapeRemedy, "found %s where an object or a list of apps was expected", root.kind)
		return nil
	}

	// The first of apps and pm2 that is truthy: {"apps": null, "pm2": […]} is
	// what PM2's own modules write.
	list := ""
	for _, name := range []string{"apps", "pm2"} {
		if v := root.member(name); v != nil && (list == "" || root.member(list).kind == kindNull) {
			list = name
		}
	}
	if list == "" && isApp(root) {
		doc.apps = []*value{root}
		return doc
	}
	for _, mem := range root.members {
		switch mem.name {
		case list:
		case "deploy":
			doc.deploy = mem.value
		case "static":
			doc.static = mem.value
		default:
			doc.rest = append(doc.rest, mem)
		}
	}
	if list == "" {
		if doc.deploy == nil && doc.static == nil {
			r.notADeclaration(root)
			return nil
		}
		if doc.static == nil {
			r.m.add(codeNoApps, root.at, "", "the declaration declares no app, only how to deploy")
		}
		return doc
	}
	apps := root.member(list)
	switch {
	case apps.kind == kindArray && len(apps.items) == 0:
		r.m.add(codeNoApps, apps.at, "", "the declaration declares no app")
	case apps.kind == kindArray:
		if doc.apps = r.appList(apps.items); isDump(apps.items) {
			doc.format, doc.apps = formatDump, r.readDump(apps.items)
		}
	case apps.kind == kindObject && !isApp(apps) && appsByName(apps):
		r.m.add(codeNotADeclaration, apps.at, `write a list, and each key as "name" inside its app`,
			"%q is an object of apps by name; PM2 takes a list of apps or one app", list)
		return nil
	case apps.kind == kindObject:
		doc.apps = []*value{apps}
	default:
		r.m.add(codeNotADeclaration, apps.at, shapeRemedy, "%q is %s; a list of apps was expected", list, apps.kind)
		return nil
	}
	return doc
}

// appList returns the entries that can be apps, and reports the others.
func (r *reader) appList(items []*value) []*value {
	apps := make([]*value, 0, len(items))
	wrong := 0
	for _, item := range items {
		if item.kind != kindObject {
			if wrong++; wrong > maxRepeats {
				continue
			}
			r.m.add(codeNotAnApp, item.at, `write {"script": …}`, "found %s where an app was expected", item.kind)
			continue
		}
		apps = append(apps, item)
	}
	return apps
}

// notADeclaration reports an object that has nothing of PM2, and says what it
// looks like where that is plain.
func (r *reader) notADeclaration(root *value) {
	at := root.at
	switch {
	case len(root.members) == 0:
		r.m.add(codeNotADeclaration, at, shapeRemedy, "an empty object declares no app")
	case root.member("scripts") != nil || root.member("dependencies") != nil:
		r.m.add(codeNotADeclaration, at, `name a declaration, or add a "pm2" key with a list of apps`,
			`this is a package.json without "apps" or "pm2"`)
	case appsByName(root):
		r.m.add(codeNotADeclaration, at, `write {"apps": […]}, and each key as "name" inside its app`,
			"this is an object of apps by name; PM2 takes a list of apps")
	default:
		at = root.members[0].nameAt
		r.m.add(codeNotADeclaration, at, shapeRemedy,
			`found an object with the key %q, and neither "apps" nor "script"`, root.members[0].name)
	}
}

// isApp reports whether an object has a key that makes it an app and nothing
// else. "name", "env" or "args" alone are keys of many other files.
func isApp(v *value) bool {
	for i := range v.members {
		switch v.members[i].name {
		case "script", "exec", "cmd", "command",
			"exec_mode", "instances", "exec_interpreter", "interpreter", "node_args", "interpreter_args",
			"max_memory_restart", "autorestart", "cron_restart", "ignore_watch", "out_file", "error_file",
			"merge_logs", "restart_delay", "min_uptime", "max_restarts", "kill_timeout", "wait_ready",
			"listen_timeout", "log_date_format", "stop_exit_codes":
			return true
		}
	}
	return false
}

// appsByName reports whether every member is an app: {"web": {"script": …}}.
func appsByName(v *value) bool {
	for i := range v.members {
		if m := v.members[i].value; m.kind != kindObject || !isApp(m) {
			return false
		}
	}
	return len(v.members) > 0
}
