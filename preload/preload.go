// Package preload holds the script that Node loads before an app that is written for PM2:
// it turns PM2's messages into systemd's protocol, and hands inherited sockets to listen().
package preload

import _ "embed"

// name is the script's. The number is the version of what units and the script say to each
// other.
const name = "preload-1.cjs"

// Where the script is: of the system's apps, any user can read it there, and below the home
// of a user.
const (
	System = "/var/lib/gm-node/" + name
	User   = ".local/state/gm-node/" + name
)

// Text is the script.
//
//go:embed preload.cjs
var Text []byte
