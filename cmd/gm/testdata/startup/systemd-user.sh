# Has systemd start the supervisor of ann at boot. gm startup --install does it.
mkdir -p /home/ann/.config/systemd/user
cat >/home/ann/.config/systemd/user/gm-supervisor.service <<'EOF'
# Written by gm startup; gm unstartup removes it.
[Unit]
Description=the supervisor of gm, and the apps that it runs

[Service]
ExecStart="/opt/my tools/gm" supervise --user --wait
Environment="GM_HOME=/home/ann/it's 100%% & <mine>"
Restart=always
KillMode=process
Delegate=yes

[Install]
WantedBy=default.target
EOF
chmod 644 /home/ann/.config/systemd/user/gm-supervisor.service
systemctl --user daemon-reload
systemctl --user enable --now gm-supervisor.service
