# Has launchd start the supervisor of ann at boot. gm startup --install does it.
mkdir -p /home/ann/Library/LaunchAgents
cat >/home/ann/Library/LaunchAgents/gm.supervisor.plist <<'EOF'
<?xml version="1.0" encoding="UTF-8"?>
<!-- Written by gm startup; gm unstartup removes it. -->
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>Label</key><string>gm.supervisor</string>
	<key>ProgramArguments</key>
	<array>
		<string>/opt/my tools/gm</string>
		<string>supervise</string>
		<string>--user</string>
		<string>--wait</string>
	</array>
	<key>EnvironmentVariables</key>
	<dict>
		<key>HOME</key><string>/home/ann</string>
		<key>USER</key><string>ann</string>
		<key>LOGNAME</key><string>ann</string>
		<key>GM_HOME</key><string>/home/ann/it&#39;s 100% &amp; &lt;mine&gt;</string>
	</dict>
	<key>RunAtLoad</key><true/>
	<key>KeepAlive</key><true/>
	<key>AbandonProcessGroup</key><true/>
	<key>ExitTimeOut</key><integer>90</integer>
	<key>StandardErrorPath</key><string>/home/ann/it&#39;s 100% &amp; &lt;mine&gt;/supervisor.log</string>
</dict>
</plist>
EOF
chmod 644 /home/ann/Library/LaunchAgents/gm.supervisor.plist
launchctl bootstrap gui/1000 /home/ann/Library/LaunchAgents/gm.supervisor.plist
