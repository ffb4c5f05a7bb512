// Package preload holds the script that Node loads before an app that is written for PM2:
// it turns PM2's messages into systemd's protocol, and hands inherited sockets to listen().
package preload

import _ "embed"

// File is where the script is, below /var/lib or a user's state directory. The number is the
// version of what units and the script say to each other.
const File = "gm/preload-1.cjs"

// Text is the script.
//
//go:embed preload.cjs
var Text []byte
