package translate

import "unicode/utf8"

// appendJSON appends v as JSON.stringify writes it, which is what PM2 puts
// into a variable that was given a list or an object.
func (v *value) appendJSON(dst []byte) []byte {
	switch v.kind {
	case kindString:
		return appendQuoted(dst, v.text)
	case kindNumber:
		if v.text == "NaN" || v.text == "Infinity" || v.text == "-Infinity" {
			return append(dst, "null"...)
		}
		return append(dst, v.text...)
	case kindArray:
		dst = append(dst, '[')
		for i, item := range v.items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = item.appendJSON(dst)
		}
		return append(dst, ']')
	case kindObject:
		dst = append(dst, '{')
		for i := range v.members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendQuoted(dst, v.members[i].name)
			dst = append(dst, ':')
			dst = v.members[i].value.appendJSON(dst)
		}
		return append(dst, '}')
	}
	return append(dst, v.String()...)
}

// appendQuoted differs from encoding/json in what it leaves alone: <, >, &,
// U+2028 and U+2029 stay as they are.
func appendQuoted(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', byte(c))
		case c == '\b':
			dst = append(dst, `\b`...)
		case c == '\f':
			dst = append(dst, `\f`...)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\r':
			dst = append(dst, `\r`...)
		case c == '\t':
			dst = append(dst, `\t`...)
		case c < ' ':
			dst = append(dst, `\u00`...)
			dst = append(dst, hex[c>>4], hex[c&15])
		default:
			dst = utf8.AppendRune(dst, c)
		}
	}
	return append(dst, '"')
}
