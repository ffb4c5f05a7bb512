#!/bin/bash
# An app in one line of bash: app.sh NAME COMMANDS notes its start in NAME.starts
# (pid and time) and does as told.
echo "$$ $EPOCHREALTIME" >>"$1.starts"
eval "$2"
