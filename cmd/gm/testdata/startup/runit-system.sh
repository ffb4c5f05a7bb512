# Has runit start the supervisor of root at boot. To be run by root, or gm startup --install does it.
mkdir -p /etc/sv/gm
cat >/etc/sv/gm/run <<'EOF'
#!/bin/sh
# Written by gm startup; gm unstartup removes it.
exec 2>&1
exec /usr/local/bin/gm supervise --system --wait
EOF
chmod 755 /etc/sv/gm/run
ln -s /etc/sv/gm /var/service/
