# Has openrc start the supervisor of ann at boot. To be run by root, or gm startup --install does it.
mkdir -p /etc/init.d
cat >/etc/init.d/gm-ann <<'EOF'
#!/sbin/openrc-run
# Written by gm startup; gm unstartup removes it.

name=gm-ann
description="the supervisor of gm, and the apps that it runs"
supervisor=supervise-daemon
command='/opt/my tools/gm'
command_args='supervise --user --wait'
command_user=ann
output_log='/home/ann/it'\''s 100% & <mine>/supervisor.log'
error_log='/home/ann/it'\''s 100% & <mine>/supervisor.log'
respawn_delay=1
respawn_max=0
retry=TERM/90/KILL/5
export HOME=/home/ann
export USER=ann
export LOGNAME=ann
export 'GM_HOME=/home/ann/it'\''s 100% & <mine>'

depend() {
	need localmount
	use net dns logger
	after firewall
}

start_pre() {
	checkpath --directory --mode 0700 --owner ann '/home/ann/it'\''s 100% & <mine>'
}
EOF
chmod 755 /etc/init.d/gm-ann
rc-update add gm-ann default
rc-service gm-ann start
