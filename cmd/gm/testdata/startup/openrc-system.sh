# Has openrc start the supervisor of root at boot. To be run by root, or gm startup --install does it.
mkdir -p /etc/init.d
cat >/etc/init.d/gm <<'EOF'
#!/sbin/openrc-run
# Written by gm startup; gm unstartup removes it.

name=gm
description="the supervisor of gm, and the apps that it runs"
supervisor=supervise-daemon
command=/usr/local/bin/gm
command_args='supervise --system --wait'
output_log=/var/lib/gm/supervisor.log
error_log=/var/lib/gm/supervisor.log
respawn_delay=1
respawn_max=0
retry=TERM/90/KILL/5

depend() {
	need localmount
	use net dns logger
	after firewall
}

start_pre() {
	checkpath --directory --mode 0700 /var/lib/gm
}
EOF
chmod 755 /etc/init.d/gm
rc-update add gm default
rc-service gm start
