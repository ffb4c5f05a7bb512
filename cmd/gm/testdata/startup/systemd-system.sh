# Has systemd start the supervisor of root at boot. To be run by root, or gm startup --install does it.
mkdir -p /etc/systemd/system
cat >/etc/systemd/system/gm-supervisor.service <<'EOF'
# Written by gm startup; gm unstartup removes it.
[Unit]
Description=the supervisor of gm, and the apps that it runs
After=network.target

[Service]
ExecStart=/usr/local/bin/gm supervise --system --wait
Restart=always
KillMode=process
Delegate=yes

[Install]
WantedBy=multi-user.target
EOF
chmod 644 /etc/systemd/system/gm-supervisor.service
systemctl daemon-reload
systemctl enable --now gm-supervisor.service
