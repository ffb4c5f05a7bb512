# Has runit start the supervisor of ann at boot. To be run by root, or gm startup --install does it.
mkdir -p /etc/sv/gm-ann
cat >/etc/sv/gm-ann/run <<'EOF'
#!/bin/sh
# Written by gm startup; gm unstartup removes it.
exec 2>&1
exec chpst -u ann:"$(id -Gn ann | tr ' ' :)" env HOME=/home/ann USER=ann LOGNAME=ann 'GM_HOME=/home/ann/it'\''s 100% & <mine>' '/opt/my tools/gm' supervise --user --wait
EOF
chmod 755 /etc/sv/gm-ann/run
ln -s /etc/sv/gm-ann /etc/service/
