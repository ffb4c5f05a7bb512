# Has launchd start the supervisor of root at boot. To be run by root, or gm startup --install does it.
mkdir -p /Library/LaunchDaemons
cat >/Library/LaunchDaemons/gm.supervisor.plist <<'EOF'
<?xml version="1.0" encoding="UTF-8"?>
<!-- Written by gm startup; gm unstartup removes it. -->
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>Label</key><string>gm.supervisor</string>
	<key>ProgramArguments</key>
	<array>
		<string>/usr/local/bin/gm</string>
		<string>supervise</string>
		<string>--system</string>
		<string>--wait</string>
	</array>
	<key>RunAtLoad</key><true/>
	<key>KeepAlive</key><true/>
	<key>AbandonProcessGroup</key><true/>
	<key>ExitTimeOut</key><integer>90</integer>
	<key>StandardErrorPath</key><string>/var/lib/gm/supervisor.log</string>
</dict>
</plist>
EOF
chmod 644 /Library/LaunchDaemons/gm.supervisor.plist
launchctl bootstrap system /Library/LaunchDaemons/gm.supervisor.plist
