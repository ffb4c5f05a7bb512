package units

import (
	"errors"
	"fmt"
	"strings"
	"sync"
)

// maxUnitName is systemd's UNIT_NAME_MAX without the NUL.
const maxUnitName = 255

var unitTypes = [...]string{"service", "socket", "timer", "target", "slice", "path", "mount", "automount", "swap", "device", "scope"}

// EscapeName turns the name of an app into the part of a unit's name that is
// before "@" or the suffix. It is systemd-escape(1) but for two characters: "-"
// is kept, so that most names stay as they are, and ":" is escaped, since lists
// of paths are split at it. As there, "/" becomes "-".
func EscapeName(app string) string {
	var out strings.Builder
	for i := 0; i < len(app); i++ {
		c := app[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
			out.WriteByte(c)
		case c == '.' && i > 0:
			out.WriteByte(c)
		case c == '/':
			out.WriteByte('-')
		default:
			out.WriteString(`\x`)
			out.WriteByte(hexDigits[c>>4])
			out.WriteByte(hexDigits[c&15])
		}
	}
	return out.String()
}

// UnescapeName undoes EscapeName, except that a "/" comes back as "-".
func UnescapeName(name string) string {
	var out strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] == '\\' && i+3 < len(name) && name[i+1] == 'x' {
			high, low := unhex(name[i+2]), unhex(name[i+3])
			if high >= 0 && low >= 0 {
				out.WriteByte(byte(high<<4 | low))
				i += 3
				continue
			}
		}
		out.WriteByte(name[i])
	}
	return out.String()
}

// CheckName says why unit cannot be the name of a unit that gm writes. systemd
// allows further "@" in an instance's name; gm does not.
func CheckName(unit string) error {
	dot := strings.LastIndexByte(unit, '.')
	switch {
	case unit == "":
		return errors.New("the unit's name is empty")
	case len(unit) > maxUnitName:
		return fmt.Errorf("the unit name %q has %d bytes; at most %d are possible", clip(unit), len(unit), maxUnitName)
	case dot <= 0:
		return fmt.Errorf("the unit name %q has no suffix such as .service", unit)
	case !isUnitType(unit[dot+1:]):
		return fmt.Errorf("the unit name %q ends in .%s, which is no type of unit", unit, unit[dot+1:])
	case unit[0] == '@':
		return fmt.Errorf("the unit name %q begins with @", unit)
	case unit[0] == '.':
		return fmt.Errorf("the unit name %q begins with a dot, which hides the file", unit)
	case strings.Count(unit, "@") > 1:
		return fmt.Errorf("the unit name %q has more than one @", unit)
	}
	if slice, ok := strings.CutSuffix(unit, ".slice"); ok && slice != "-" {
		// Dashes nest slices: systemd.slice(5).
		if strings.Contains("-"+slice+"-", "--") {
			return fmt.Errorf("the slice name %q has a dash with nothing on one side of it", unit)
		}
		if strings.Contains(slice, "@") {
			return fmt.Errorf("the slice name %q has an @; slices cannot be templates", unit)
		}
	}
	for i := range dot {
		if c := unit[i]; c != '@' && c != ':' && c != '\\' && !isKey(unit[i:i+1]) {
			return fmt.Errorf("the unit name %q holds %q; letters, digits and :-_.\\ are possible", unit, c)
		}
	}
	return nil
}

func isUnitType(suffix string) bool {
	for _, t := range unitTypes {
		if suffix == t {
			return true
		}
	}
	return false
}

// unhex returns the value of a hexadecimal digit, or -1.
func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// CheckVendor refuses the name of a unit that systemd or the operating system
// brings: one of gm's in /etc would take its place (systemd.unit(5), UNIT FILE
// LOAD PATH). What else a host has is for the installation to see.
func CheckVendor(unit string) error {
	if strings.HasPrefix(unit, "systemd-") || vendorUnits()[unit] {
		return fmt.Errorf("%s is a unit of the system itself, and one of that name would take its place", unit)
	}
	return nil
}

// vendorUnits are the units of systemd.special(7) that apps could be called
// after, and those that a server cannot do without.
var vendorUnits = sync.OnceValue(func() map[string]bool {
	units := map[string]bool{}
	for kind, names := range map[string]string{
		".target": `basic bluetooth boot-complete cryptsetup cryptsetup-pre ctrl-alt-del default emergency exit
			factory-reset final first-boot-complete getty getty-pre graphical graphical-session
			graphical-session-pre halt hibernate hybrid-sleep initrd integritysetup kbrequest kexec local-fs
			local-fs-pre machines multi-user network network-online network-pre nss-lookup nss-user-lookup paths
			poweroff printer reboot remote-cryptsetup remote-fs remote-fs-pre remote-veritysetup rescue rpcbind
			runlevel0 runlevel1 runlevel2 runlevel3 runlevel4 runlevel5 runlevel6 shutdown sigpwr sleep slices
			smartcard sockets soft-reboot sound storage-target-mode suspend suspend-then-hibernate swap sysinit
			system-update system-update-pre time-set time-sync timers umount usb-gadget veritysetup`,
		".service": `console-getty cron crond dbus dbus-broker debug-shell display-manager emergency getty
			kmod-static-nodes NetworkManager polkit quotaon rescue rsyslog ssh sshd sudo syslog udev`,
		"@.service": `autovt container-getty getty modprobe serial-getty ssh sshd user user-runtime-dir`,
		".socket":   `dbus ssh sshd syslog`,
	} {
		for name := range strings.FieldsSeq(names) {
			units[name+kind] = true
		}
	}
	return units
})

// EscapeGlob returns a path as it stands where systemd takes a pattern, glob(7): in
// EnvironmentFile=.
func EscapeGlob(path string) string { return globEscapes.Replace(path) }

var globEscapes = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// UnescapeGlob undoes EscapeGlob.
func UnescapeGlob(pattern string) string {
	var path strings.Builder
	for i := 0; i < len(pattern); i++ {
		if pattern[i] == '\\' && i+1 < len(pattern) {
			i++
		}
		path.WriteByte(pattern[i])
	}
	return path.String()
}
