package translate

import (
	"bytes"
	"encoding/json"
	"strings"
)

// node is a JSON object of the schema; encoding/json writes its keys sorted,
// so that the same table gives the same bytes.
type node map[string]any

// schemaID names the schema; it is no address.
const schemaID = "urn:gm:declaration"

// Schema returns the JSON Schema (draft 2020-12) of a declaration, for editors
// and reviews. It takes every shape of a file that gm takes, and is stricter
// than gm in one way: an unknown key is refused.
func Schema() []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(declarationSchema()); err != nil {
		panic(err) // strings, and raw JSON that a test reads
	}
	return out.Bytes()
}

// declarationSchema is the schema of a file: a list of apps, an object with
// apps in it, or one app. if and then, rather than anyOf, let an editor name
// the key that is wrong instead of the shapes that do not fit.
func declarationSchema() node {
	hasKey := func(names ...string) node {
		var any []node
		for _, name := range names {
			any = append(any, node{"required": []string{name}})
		}
		return node{"anyOf": any}
	}
	list := node{"type": "array"}
	return node{
		"$schema":     "https://json-schema.org/draft/2020-12/schema",
		"$id":         schemaID,
		"title":       "PM2 declaration",
		"description": "The apps that gm and PM2 run. Every key: gm explain KEY.",
		"if":          list,
		"then":        node{"minItems": 1, "items": ref("app")},
		"else": node{
			"if":   node{"type": "object", "anyOf": hasKey("apps", "pm2", "deploy", "static")["anyOf"]},
			"then": ref("file"),
			"else": ref("app"),
		},
		"$defs": node{
			"app": appSchema(),
			"apps": node{
				"if":   list,
				"then": node{"items": ref("app")},
				"else": node{"anyOf": []node{ref("app"), {"type": "null"}}},
			},
			"code": node{
				"description": "An exit code.",
				"anyOf": []node{
					{"type": "integer", "minimum": 0, "maximum": 255},
					{"type": "string", "pattern": "^(25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])$"},
				},
			},
			"directives": node{
				"description": "Directives of systemd by name; a list gives one several times.",
				"type":        "object",
				"additionalProperties": node{"anyOf": []node{
					ref("word"),
					{"type": "array", "items": ref("word")},
				}},
			},
			"file":    fileSchema(),
			"systemd": systemdSchema(),
			"word":    node{"type": []string{"string", "number", "boolean"}},
		},
	}
}

func ref(def string) node { return node{"$ref": "#/$defs/" + def} }

// fileSchema is an object with apps in it.
func fileSchema() node {
	properties := node{schemaKey: node{"type": "string"}}
	for _, t := range fileTopics() {
		property := node{"description": plain(t.doc)}
		switch t.name {
		case "deploy":
			property["type"] = []string{"object", "null"}
		case "static":
			property["type"] = []string{"array", "object", "null"}
		default:
			property["$ref"] = "#/$defs/apps"
		}
		properties[t.name] = property
	}
	return node{"type": "object", "properties": properties, "additionalProperties": false}
}

// schemaKey is where a file tells an editor its schema; it is no key of an app.
const schemaKey = "$schema"

// appSchema is one app: every spelling of every row.
func appSchema() node {
	properties := node{schemaKey: node{"type": "string"}}
	patterns := node{}
	var script []node
	rows := fields()
	for i := range rows {
		f := &rows[i]
		if f.Name == envPattern {
			patterns[`^env_\S*$`] = fieldSchema(f)
			continue
		}
		properties[f.Name] = fieldSchema(f)
		for _, alias := range f.spellings()[1:] {
			properties[alias] = node{
				"$ref":        "#/$defs/app/properties/" + f.Name,
				"description": "The same as " + f.Name + ": " + firstSentence(plain(f.Doc)),
			}
		}
		if f.Name == "script" {
			for _, spelling := range f.spellings() {
				script = append(script, node{
					"required":   []string{spelling},
					"properties": node{spelling: node{"type": "string", "pattern": `\S`}},
				})
			}
		}
	}
	return node{
		"description":          "One app.",
		"type":                 "object",
		"properties":           properties,
		"patternProperties":    patterns,
		"anyOf":                script,
		"additionalProperties": false,
	}
}

// fieldSchema is one row. PM2 takes null for a key that is not there, so every
// key may be null.
func fieldSchema(f *Field) node {
	out := nullable(f.Type.Schema)
	out["description"] = plain(f.Doc)
	if f.Drop != "" {
		out["description"] = plain(f.Doc) + " No effect: " + plain(f.Drop) + "."
		out["deprecated"] = true
	}
	if f.Default != "" {
		out["default"] = json.RawMessage(f.Default)
	}
	out["examples"] = []json.RawMessage{json.RawMessage(f.Example)}
	return out
}

// systemdSchema is gm's own object.
func systemdSchema() node {
	properties := node{}
	for _, k := range SystemdKeys() {
		property := nullable(k.Schema)
		property["description"] = plain(k.Doc)
		property["examples"] = []json.RawMessage{json.RawMessage(k.Example)}
		properties[k.Name] = property
	}
	return node{
		"description":          "gm's own keys, for what PM2 cannot say.",
		"type":                 "object",
		"properties":           properties,
		"additionalProperties": false,
	}
}

// nullable is a schema that null passes as well.
func nullable(schema string) node {
	null := json.RawMessage(`{"type": "null"}`)
	if choices, ok := strings.CutPrefix(schema, `{"anyOf": `); ok {
		var list []json.RawMessage
		if json.Unmarshal([]byte(strings.TrimSuffix(choices, "}")), &list) == nil {
			return node{"anyOf": append(list, null)}
		}
	}
	return node{"anyOf": []json.RawMessage{json.RawMessage(schema), null}}
}

// plain drops the marks of Markdown, which editors show as they are.
func plain(doc string) string { return strings.ReplaceAll(doc, "`", "") }
