package native

import (
	"strings"
	"sync"
	"time"

	"gm/units"
)

// policy is what the supervisor does about a directive.
type policy uint8

const (
	// honoured directives have a setter.
	honoured policy = iota
	// needless ones have nothing to say here, and nothing is lost by it: no note.
	needless
	// ignored ones are noted, once for each unit: what they ask for does not happen.
	ignored
	// refused ones make a unit that cannot be started, since it would be another one.
	refused
)

// rule is what the supervisor knows of some directives of one section. A directive of
// units.Rules has one row; "*" are those of the section that have none.
type rule struct {
	section string
	keys    string // separated by blanks
	policy  policy
	// why completes "KEY= is ignored: " or "KEY=: ". For a honoured one it is what differs
	// from systemd.
	why string
	set setter // of a refused one: the value that is refused; nil refuses all but no
}

// setter puts a value into the definition that is made. Raw("") is the empty assignment.
type setter func(b *builder, v units.Value) error

// What ignored confinement says. A unit that asks for it expects to be safe.
const (
	noMounts  = "this protection is NOT in force; the supervisor makes no mount namespaces"
	noFilter  = "this protection is NOT in force; the supervisor filters no system calls"
	noSpaces  = "this separation is NOT in force; the supervisor makes no namespaces"
	noCaps    = "this restriction is NOT in force; the processes have what their user has"
	noLabels  = "this confinement is NOT in force; the supervisor sets no security labels"
	noNetwork = "this restriction is NOT in force; the supervisor loads no BPF programs"

	noLimit    = "nothing is limited or weighed by it; of resources the supervisor limits MemoryMax= alone"
	noJob      = "the supervisor has no such jobs"
	noCommands = "the supervisor runs no commands for a socket"
	noTerminal = "no terminal is used"
	asWritten  = "lines are kept as they were written, all of them, in files named after the unit"
	counted    = "what is used is read when someone asks"
	atEnable   = "gm reads it when the unit is enabled; what counts are the links"
	gmReads    = "gm reads it"
	notHere    = "the supervisor runs services, timers, sockets and targets"
)

// rules has a row for everything that the compiler writes, and for what people add to it.
var rules = sync.OnceValue(func() []rule {
	return []rule{
		// systemd.unit(5)
		{"Unit", "Description", honoured, "", setDescription},
		{"Unit", "Documentation SourcePath", needless, gmReads, nil},
		{"Unit", "Requires", honoured, "", depend(func(d *definition) *[]string { return &d.requires })},
		{"Unit", "Requisite", honoured, "", depend(func(d *definition) *[]string { return &d.requisite })},
		{"Unit", "Wants", honoured, "", depend(func(d *definition) *[]string { return &d.wants })},
		{"Unit", "BindsTo", honoured, "", depend(func(d *definition) *[]string { return &d.bindsTo })},
		{"Unit", "PartOf", honoured, "", depend(func(d *definition) *[]string { return &d.partOf })},
		{"Unit", "Conflicts", honoured, "", depend(func(d *definition) *[]string { return &d.conflicts })},
		{"Unit", "Before", honoured, "", depend(func(d *definition) *[]string { return &d.before })},
		{"Unit", "After", honoured, "", depend(func(d *definition) *[]string { return &d.after })},
		{"Unit", "DefaultDependencies", honoured,
			"the only default is that a target comes after what it wants; there is no start-up of a machine to wait for",
			setFlag(func(b *builder) (*bool, bool) { return &b.d.unordered, false })},
		{"Unit", "StartLimitIntervalSec", honoured, "", setSpan(func(b *builder) *time.Duration { return &b.d.limit.interval })},
		{"Unit", "StartLimitBurst", honoured, "", setCount(func(b *builder) *int { return &b.d.limit.burst })},
		{"Unit", conditionKeys("Condition", testedConditions), honoured, "", setCondition},
		{"Unit", conditionKeys("Assert", testedConditions), honoured,
			"one that does not hold skips the start, as the condition of that name does, instead of failing it", setCondition},
		{"Unit", conditionKeys("Condition", untestedConditions) + " " + conditionKeys("Assert", untestedConditions) + " ConditionFirmware", ignored,
			"the supervisor cannot tell and takes it for fulfilled", nil},
		{"Unit", "Upholds OnSuccess OnFailure", ignored, "the units that it names are not started", nil},
		{"Unit", "OnSuccessJobMode OnFailureJobMode", needless, "it is about OnSuccess= and OnFailure=", nil},
		{"Unit", "PropagatesReloadTo ReloadPropagatedFrom PropagatesStopTo StopPropagatedFrom", ignored,
			"only what PartOf=, Requires= and BindsTo= say is passed on to other units", nil},
		{"Unit", "StopWhenUnneeded RefuseManualStart RefuseManualStop", ignored, "the unit is started and stopped like any other", nil},
		{"Unit", "RequiresMountsFor WantsMountsFor", ignored, "mounts are no units here and nothing waits for them", nil},
		{"Unit", "JoinsNamespaceOf", ignored, noSpaces, nil},
		{"Unit", "JobTimeoutSec JobRunningTimeoutSec JobTimeoutAction JobTimeoutRebootArgument", ignored,
			"a job has the time that TimeoutStartSec= and TimeoutStopSec= give it", nil},
		{"Unit", "StartLimitAction FailureAction SuccessAction FailureActionExitStatus SuccessActionExitStatus RebootArgument",
			ignored, "the supervisor does nothing to the machine", nil},
		{"Unit", "AllowIsolate IgnoreOnIsolate CollectMode SurviveFinalKillSignal", needless, noJob, nil},

		// systemd.service(5)
		{"Service", "Type", honoured, "forking, dbus and notify-reload are refused; idle is simple", setType},
		{"Service", "ExitType", refused, "with ExitType=cgroup there is no way to tell when the service has ended; " +
			"have the program stay in the foreground", refuseBut("main")},
		{"Service", "NotifyAccess", honoured, "", setWord(func(s *serviceDef) *string { return &s.notifyAccess }, "none", "main", "exec", "all")},
		{"Service", "RemainAfterExit", honoured, "", setFlag(func(b *builder) (*bool, bool) { return &b.d.service.remainAfterExit, true })},
		{"Service", "GuessMainPID PIDFile BusName", needless, "it is about Type=forking and Type=dbus", nil},
		{"Service", "ExecCondition", honoured, "", setCommand(func(s *serviceDef) *[]command { return &s.condition })},
		{"Service", "ExecStartPre", honoured, "", setCommand(func(s *serviceDef) *[]command { return &s.pre })},
		{"Service", "ExecStart", honoured,
			"a program called gm is executed as the supervisor's own, and gm watch and the restarts of cron_restart without a process",
			setCommand(func(s *serviceDef) *[]command { return &s.start })},
		{"Service", "ExecStartPost", honoured, "", setCommand(func(s *serviceDef) *[]command { return &s.post })},
		{"Service", "ExecReload", honoured, "", setCommand(func(s *serviceDef) *[]command { return &s.reload })},
		{"Service", "ExecStop", honoured, "", setCommand(func(s *serviceDef) *[]command { return &s.stop })},
		{"Service", "ExecStopPost", honoured, "", setCommand(func(s *serviceDef) *[]command { return &s.stopPost })},
		{"Service", "ExecReloadPost", ignored, "the command is not run", nil},
		{"Service", "ReloadSignal RefreshOnReload", needless, "it is about Type=notify-reload and mounts", nil},
		{"Service", "Restart", honoured, "a process whose end nobody could see has failed",
			setWord(func(s *serviceDef) *string { return &s.restart },
				"no", "always", "on-success", "on-failure", "on-abnormal", "on-abort", "on-watchdog")},
		{"Service", "RestartMode", ignored, "a restart is the one of RestartMode=normal", nil},
		{"Service", "RestartSec", honoured, "", setServiceSpan(func(s *serviceDef) *time.Duration { return &s.restartSec })},
		{"Service", "RestartSteps", honoured, "whatever the version of systemd", setCount(func(b *builder) *int { return &b.d.service.restartSteps })},
		{"Service", "RestartMaxDelaySec", honoured, "whatever the version of systemd", setServiceSpan(func(s *serviceDef) *time.Duration { return &s.restartMaxDelay })},
		{"Service", "RestartRandomizedDelaySec", ignored, "nothing is added to the wait", nil},
		{"Service", "RestartPreventExitStatus", honoured, "", setWords(func(b *builder) *[]string { return &b.prevent })},
		{"Service", "RestartForceExitStatus", honoured, "", setWords(func(b *builder) *[]string { return &b.force })},
		{"Service", "SuccessExitStatus", honoured, "", setWords(func(b *builder) *[]string { return &b.success })},
		{"Service", "TimeoutStartSec", honoured, "", setStartTimeout},
		{"Service", "TimeoutStopSec", honoured, "", setServiceSpan(func(s *serviceDef) *time.Duration { return &s.timeoutStop })},
		{"Service", "TimeoutSec", honoured, "", setTimeouts},
		{"Service", "RuntimeMaxSec", honoured, "", setServiceSpan(func(s *serviceDef) *time.Duration { return &s.runtimeMax })},
		{"Service", "WatchdogSec", honoured, "", setServiceSpan(func(s *serviceDef) *time.Duration { return &s.watchdog })},
		{"Service", "TimeoutStartFailureMode TimeoutStopFailureMode TimeoutAbortSec WatchdogSignal RuntimeRandomizedExtraSec", ignored,
			"a service that takes too long is ended as its defaults say", nil},
		{"Service", "TimeoutCleanSec", needless, noJob, nil},
		{"Service", "Sockets", honoured, "", depend(func(d *definition) *[]string { return &d.service.sockets })},
		{"Service", "NonBlocking", ignored, "the service gets the descriptors as they are", nil},
		{"Service", "OpenFile FileDescriptorStoreMax FileDescriptorStorePreserve LUOSession", ignored,
			"the service gets the descriptors of socket units alone", nil},
		{"Service", "USBFunctionDescriptors USBFunctionStrings", needless, "it is about USB gadgets", nil},

		// systemd.exec(5)
		{"Service", "User", honoured, "", setAccount(func(s *serviceDef) *string { return &s.exec.user })},
		{"Service", "Group", honoured, "", setAccount(func(s *serviceDef) *string { return &s.exec.group })},
		{"Service", "SupplementaryGroups", honoured, "", setWords(func(b *builder) *[]string { return &b.d.service.exec.supplementary })},
		{"Service", "DynamicUser", refused, "the supervisor makes no users, and the processes would run as its own; name one with User=", nil},
		{"Service", "PAMName SetLoginEnvironment", ignored, "no session is opened, by PAM or otherwise", nil},
		{"Service", "WorkingDirectory", honoured, "", setDirectory},
		{"Service", "Environment", honoured, "", setEnvironment},
		{"Service", "EnvironmentFile", honoured, "", setEnvironmentFile},
		{"Service", "PassEnvironment", ignored,
			"apps of gm run inherit all that it has, others the locale and little else of the supervisor", nil},
		{"Service", "UnsetEnvironment", honoured, "", setWords(func(b *builder) *[]string { return &b.d.service.exec.unsetEnv })},
		{"Service", "ExecSearchPath", honoured, "", setSearchPath},
		{"Service", "UMask", honoured, "", setMode(func(b *builder) *int { return &b.d.service.exec.umask })},
		{"Service", "IgnoreSIGPIPE", honoured, "", setFlag(func(b *builder) (*bool, bool) { return &b.d.service.exec.ignoreSIGPIPE, true })},
		{"Service", limitKeys, honoured, "one that the operating system does not have fails the start", setLimit},
		{"Service", "Nice", honoured, "", setNumber(func(s *serviceDef) **int { return &s.exec.nice }, -20, 19)},
		{"Service", "OOMScoreAdjust", honoured, "on Linux", onLinux(setNumber(func(s *serviceDef) **int { return &s.exec.oomScore }, -1000, 1000))},
		{"Service", "OOMPolicy", honoured, "", setWord(func(s *serviceDef) *string { return &s.oomPolicy }, "continue", "stop", "kill")},
		{"Service", "IOSchedulingClass", honoured, "on Linux", onLinux(setIOClass)},
		{"Service", "IOSchedulingPriority", honoured, "on Linux", onLinux(setNumber(func(s *serviceDef) **int { return &s.exec.ioPriority }, 0, 7))},
		{"Service", "NoNewPrivileges", honoured, "on Linux", onLinux(setFlag(func(b *builder) (*bool, bool) { return &b.d.service.exec.noNewPrivs, true }))},
		{"Service", "RootDirectory", honoured, "by chroot alone; nothing is mounted in it", setText(func(s *serviceDef) *string { return &s.exec.root })},
		{"Service", "RuntimeDirectory StateDirectory CacheDirectory LogsDirectory", honoured,
			"they are made at the start and stay; links and modes of one directory are left out", setDirectories},
		{"Service", "RuntimeDirectoryMode StateDirectoryMode CacheDirectoryMode LogsDirectoryMode", honoured,
			"where they differ, no directory allows what one of them forbids", setDirectoryMode},
		{"Service", "StandardInput", honoured, "null and file: alone", setStream(func(s *serviceDef) *units.Stream { return &s.exec.stdin }, "null", "file")},
		{"Service", "StandardOutput", honoured, "journal is a file below the supervisor's logs/; what else systemd has is taken for it",
			setStream(func(s *serviceDef) *units.Stream { return &s.exec.stdout }, outputKinds...)},
		{"Service", "StandardError", honoured, "as StandardOutput=",
			setStream(func(s *serviceDef) *units.Stream { return &s.exec.stderr }, outputKinds...)},
		{"Service", "SyslogIdentifier SyslogFacility SyslogLevel SyslogLevelPrefix LogLevelMax LogExtraFields LogRateLimitIntervalSec LogRateLimitBurst " +
			"LogFilterPatterns LogNamespace", needless, asWritten, nil},
		{"Service", "StandardInputText StandardInputData", ignored, "standard input is empty", nil},
		{"Service", "TTYPath TTYReset TTYVHangup TTYRows TTYColumns TTYVTDisallocate UtmpIdentifier UtmpMode", needless, noTerminal, nil},
		{"Service", "RuntimeDirectoryPreserve", needless, "the directories stay", nil},
		{"Service", "ConfigurationDirectory ConfigurationDirectoryMode", ignored, "the directory is not made", nil},
		{"Service", "StateDirectoryQuota StateDirectoryAccounting CacheDirectoryQuota CacheDirectoryAccounting LogsDirectoryQuota " +
			"LogsDirectoryAccounting", ignored, "nothing is counted or limited by it", nil},
		{"Service", "CoredumpFilter CPUSchedulingPolicy CPUSchedulingPriority CPUSchedulingResetOnFork CPUAffinity NUMAPolicy NUMAMask " +
			"TimerSlackNSec MemoryKSM MemoryTHP Personality", ignored, "the processes have what the supervisor has", nil},
		{"Service", "KeyringMode", ignored, noSpaces, nil},
		{"Service", "RemoveIPC", ignored, "the user's IPC objects stay", nil},
		{"Service", "LoadCredential LoadCredentialEncrypted ImportCredential SetCredential SetCredentialEncrypted", ignored,
			"the service gets no credentials; hand them over by EnvironmentFile= or a file of the app's", nil},

		// systemd.exec(5): confinement
		{"Service", "ProtectSystem ProtectHome ProtectKernelTunables ProtectControlGroups ProtectProc ProcSubset PrivateTmp PrivateDevices " +
			"PrivateMounts PrivateBPF ReadOnlyPaths InaccessiblePaths NoExecPaths", ignored, noMounts, nil},
		{"Service", "ReadWritePaths ExecPaths BPFDelegateCommands BPFDelegateMaps BPFDelegatePrograms BPFDelegateAttachments", needless,
			"it excepts something from a protection that is not in force", nil},
		{"Service", "TemporaryFileSystem BindPaths BindReadOnlyPaths BindLogSockets MountFlags MountAPIVFS MountImages MountImagePolicy " +
			"ExtensionImages ExtensionImagePolicy ExtensionDirectories RootEphemeral", ignored, "nothing is mounted for the service", nil},
		{"Service", "RootImage RootMStack", refused,
			"the supervisor mounts nothing, and the program would run outside of it; unpack it and name the directory with RootDirectory=", nil},
		{"Service", "RootImageOptions RootImagePolicy RootHash RootHashSignature RootVerity", ignored,
			"nothing is mounted for the service", nil},
		{"Service", "RootDirectoryStartOnly", ignored, "RootDirectory= is for all commands", nil},
		{"Service", "SystemCallFilter SystemCallArchitectures RestrictNamespaces RestrictRealtime RestrictSUIDSGID RestrictAddressFamilies " +
			"LockPersonality MemoryDenyWriteExecute ProtectHostname ProtectClock ProtectKernelModules ProtectKernelLogs", ignored, noFilter, nil},
		{"Service", "SystemCallErrorNumber SystemCallLog", needless, "it is about SystemCallFilter=", nil},
		{"Service", "PrivateNetwork PrivateIPC PrivatePIDs PrivateUsers NetworkNamespacePath IPCNamespacePath UserNamespacePath " +
			"DelegateNamespaces", ignored, noSpaces, nil},
		{"Service", "CapabilityBoundingSet SecureBits", ignored, noCaps, nil},
		{"Service", "AmbientCapabilities", ignored, "the processes do not get them", nil},
		{"Service", "SELinuxContext AppArmorProfile SmackProcessLabel RestrictFileSystems", ignored, noLabels, nil},

		// systemd.kill(5)
		{"Service", "KillMode", honoured, "", setWord(func(s *serviceDef) *string { return &s.killMode }, "control-group", "mixed", "process", "none")},
		{"Service", "KillSignal", honoured, "", setSignal(func(s *serviceDef) *int { return &s.killSignal })},
		{"Service", "RestartKillSignal", honoured, "", setSignal(func(s *serviceDef) *int { return &s.restartKillSignal })},
		{"Service", "FinalKillSignal", honoured, "", setSignal(func(s *serviceDef) *int { return &s.finalSignal })},
		{"Service", "SendSIGHUP", honoured, "", setFlag(func(b *builder) (*bool, bool) { return &b.d.service.sendSIGHUP, true })},
		{"Service", "SendSIGKILL", honoured, "", setFlag(func(b *builder) (*bool, bool) { return &b.d.service.sendSIGKILL, true })},

		// systemd.resource-control(5)
		{"Service", "Slice", honoured, "it groups the units; nothing is limited for a slice", setSlice},
		{"Service", "MemoryMax", honoured, "by the kernel where the supervisor may make control groups with memory, else by a look each second",
			setMemoryMax},
		{"Service", "CPUAccounting MemoryAccounting TasksAccounting IOAccounting IPAccounting CoredumpReceive", needless, counted, nil},
		{"Service", "IPAddressAllow IPAddressDeny IPIngressFilterPath IPEgressFilterPath BPFProgram SocketBindAllow SocketBindDeny " +
			"RestrictNetworkInterfaces BindNetworkInterface NFTSet DeviceAllow DevicePolicy", ignored, noNetwork, nil},
		{"Service", "CPUQuotaPeriodSec DefaultMemoryMin DefaultMemoryLow DefaultStartupMemoryLow DisableControllers", needless,
			"it is about limits that are not in force", nil},
		{"Service", "MemorySwapMax MemoryZSwapMax StartupMemorySwapMax StartupMemoryZSwapMax MemoryZSwapWriteback", ignored,
			"a unit that the kernel holds to MemoryMax= gets no swap, any other as much as there is", nil},
		{"Service", "CPUQuota TasksMax MemoryHigh MemoryLow MemoryMin StartupMemoryHigh StartupMemoryLow StartupMemoryMax CPUWeight " +
			"StartupCPUWeight AllowedCPUs StartupAllowedCPUs AllowedMemoryNodes StartupAllowedMemoryNodes CPUSetPartition IOWeight " +
			"StartupIOWeight IODeviceWeight IOReadBandwidthMax IOWriteBandwidthMax IOReadIOPSMax IOWriteIOPSMax " +
			"IODeviceLatencyTargetSec", ignored, noLimit, nil},
		{"Service", "ManagedOOMSwap ManagedOOMMemoryPressure ManagedOOMMemoryPressureLimit ManagedOOMMemoryPressureDurationSec " +
			"ManagedOOMPreference OOMRules MemoryPressureWatch MemoryPressureThresholdSec CPUPressureWatch CPUPressureThresholdSec " +
			"IOPressureWatch IOPressureThresholdSec", ignored, "nothing watches the pressure", nil},
		{"Service", "Delegate DelegateSubgroup", ignored, "the service gets no control group to itself", nil},

		// systemd.socket(5)
		{"Socket", "ListenStream", honoured, "", setListen("stream")},
		{"Socket", "ListenDatagram", honoured, "", setListen("datagram")},
		{"Socket", "ListenSequentialPacket", honoured, "", setListen("seqpacket")},
		{"Socket", "ListenFIFO", honoured, "", setListen("fifo")},
		{"Socket", "ListenSpecial ListenNetlink ListenMessageQueue ListenUSBFunction", refused,
			"the supervisor listens on sockets and FIFOs alone", nil},
		{"Socket", "Service", honoured, "", setSocketService},
		{"Socket", "Accept", refused, "the supervisor passes listeners on and starts no instance for a connection", nil},
		{"Socket", "FileDescriptorName", honoured, "", setDescriptorName},
		{"Socket", "RemoveOnStop", honoured, "", setFlag(func(b *builder) (*bool, bool) { return &b.d.socket.removeOnStop, true })},
		{"Socket", "SocketUser", honoured, "", setSocketText(func(s *socketDef) *string { return &s.user })},
		{"Socket", "SocketGroup", honoured, "", setSocketText(func(s *socketDef) *string { return &s.group })},
		{"Socket", "SocketMode", honoured, "", setMode(func(b *builder) *int { return &b.d.socket.mode })},
		{"Socket", "DirectoryMode", honoured, "", setMode(func(b *builder) *int { return &b.d.socket.dirMode })},
		{"Socket", "BindIPv6Only", honoured, "", setIPv6Only},
		{"Socket", "Backlog", honoured, "", setCount(func(b *builder) *int { return &b.d.socket.backlog })},
		{"Socket", "KeepAlive", honoured, "", setFlag(func(b *builder) (*bool, bool) { return &b.d.socket.keepAlive, true })},
		{"Socket", "NoDelay", honoured, "", setFlag(func(b *builder) (*bool, bool) { return &b.d.socket.noDelay, true })},
		{"Socket", "FreeBind", honoured, "on Linux", onLinux(setFlag(func(b *builder) (*bool, bool) { return &b.d.socket.freeBind, true }))},
		{"Socket", "ReusePort", honoured, "", setFlag(func(b *builder) (*bool, bool) { return &b.d.socket.reusePort, true })},
		{"Socket", "PipeSize", honoured, "on Linux", onLinux(setPipe)},
		{"Socket", "SocketProtocol BindToDevice", refused, "the supervisor would listen to more than that", nil},
		{"Socket", "MaxConnections MaxConnectionsPerSource PollLimitBurst PollLimitIntervalSec TriggerLimitBurst TriggerLimitIntervalSec",
			needless, "the supervisor has no such limit", nil},
		{"Socket", "DeferTrigger DeferTriggerMaxSec FlushPending Writable MessageQueueMaxMessages MessageQueueMessageSize", needless,
			"it is about what the supervisor does not do", nil},
		{"Socket", "KeepAliveTimeSec KeepAliveIntervalSec KeepAliveProbes DeferAcceptSec Priority ReceiveBuffer SendBuffer IPTOS IPTTL Mark " +
			"Transparent Broadcast PassCredentials PassPIDFD PassSecurity PassPacketInfo PassFileDescriptorsToExec AcceptFileDescriptors " +
			"Timestamping TCPCongestion XAttrEntryPoint XAttrListen XAttrAccept", ignored, "the option is not set; the service may set it itself", nil},
		{"Socket", "Symlinks", ignored, "the links are not made", nil},
		{"Socket", "SmackLabel SmackLabelIPIn SmackLabelIPOut SELinuxContextFromNet", ignored, noLabels, nil},
		{"Socket", "ExecStartPre ExecStartPost ExecStopPre ExecStopPost", refused, noCommands + "; give them to its service", nil},
		{"Socket", "*", needless, noCommands + ", and the directive is about them", nil},

		// systemd.timer(5)
		{"Timer", "OnCalendar", honoured, "", setCalendar},
		{"Timer", "OnActiveSec", honoured, "", setElapse(func(t *timerDef) *[]time.Duration { return &t.onActive })},
		{"Timer", "OnBootSec", honoured, "", setElapse(func(t *timerDef) *[]time.Duration { return &t.onBoot })},
		{"Timer", "OnStartupSec", honoured, "", setElapse(func(t *timerDef) *[]time.Duration { return &t.onStartup })},
		{"Timer", "OnUnitActiveSec", honoured, "", setElapse(func(t *timerDef) *[]time.Duration { return &t.onUnit })},
		{"Timer", "OnUnitInactiveSec", honoured, "", setElapse(func(t *timerDef) *[]time.Duration { return &t.onInact })},
		{"Timer", "AccuracySec", honoured, "", setSpan(func(b *builder) *time.Duration { return &b.d.timer.accuracy })},
		{"Timer", "RandomizedDelaySec", honoured, "", setSpan(func(b *builder) *time.Duration { return &b.d.timer.randomDelay })},
		{"Timer", "Persistent", honoured, "", setFlag(func(b *builder) (*bool, bool) { return &b.d.timer.persistent, true })},
		{"Timer", "RemainAfterElapse", honoured, "", setFlag(func(b *builder) (*bool, bool) { return &b.d.timer.remain, true })},
		{"Timer", "Unit", honoured, "", setTimerUnit},
		{"Timer", "OnClockChange OnTimezoneChange", ignored, "the unit is not started then", nil},
		{"Timer", "RandomizedOffsetSec FixedRandomDelay DeferReactivation", ignored, "the timer elapses without", nil},
		{"Timer", "WakeSystem", ignored, "the supervisor does not wake the machine", nil},

		{"Slice", "CPUAccounting MemoryAccounting TasksAccounting IOAccounting IPAccounting", needless, counted, nil},
		{"Slice", "*", ignored, "nothing is limited for a slice; put the limit of MemoryMax= into its services", nil},
		{"Path", "*", refused, notHere, nil},
		{"Install", "*", needless, atEnable, nil},
		{"X-Gm", "LogMaxSize", honoured, "gm's own: the size above which a log file is rotated", setLogMaxSize},
		{"X-Gm", "LogKeep", honoured, "gm's own: how many rotated files are kept", setLogKeep},
		{"X-Gm", "*", needless, gmReads, nil},
	}
})

// ruleOf returns the row of a directive: its own, or that of its section.
func ruleOf(section, key string) (r *rule, own bool) {
	t := ruleIndex()
	if r, ok := t[directiveName{section, key}]; ok {
		return r, true
	}
	return t[directiveName{section, "*"}], false
}

type directiveName struct{ section, key string }

// ruleIndex finds rows by names. It is made by the first load, not by every gm.
var ruleIndex = sync.OnceValue(func() map[directiveName]*rule {
	index := map[directiveName]*rule{}
	rules := rules()
	for i := range rules {
		for key := range strings.FieldsSeq(rules[i].keys) {
			index[directiveName{rules[i].section, key}] = &rules[i]
		}
	}
	return index
})

// conditionKeys puts a prefix before each word.
func conditionKeys(prefix, words string) string {
	return prefix + strings.Join(strings.Fields(words), " "+prefix)
}

// The conditions of systemd.unit(5), CONDITIONS AND ASSERTS, which holds evaluates, and
// those that it does not.
const (
	testedConditions = "Architecture Virtualization Host KernelCommandLine KernelVersion ACPower FirstBoot PathExists PathExistsGlob " +
		"PathIsDirectory PathIsSymbolicLink PathIsMountPoint PathIsReadWrite PathIsSocket DirectoryNotEmpty FileNotEmpty " +
		"FileIsExecutable User Group Memory CPUs OSRelease"
	untestedConditions = "MachineTag Fraction Version KernelModuleLoaded Credential Environment Security Capability " +
		"NeedsUpdate PathIsEncrypted ControlGroupController CPUFeature MemoryPressure CPUPressure IOPressure"
)

const limitKeys = "LimitCPU LimitFSIZE LimitDATA LimitSTACK LimitCORE LimitRSS LimitNOFILE LimitAS LimitNPROC LimitMEMLOCK LimitLOCKS " +
	"LimitSIGPENDING LimitMSGQUEUE LimitNICE LimitRTPRIO LimitRTTIME"
