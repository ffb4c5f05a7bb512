package native

import (
	"time"

	"gm/units"
)

// library is the unit files of a home at one time, as the supervisor understands them. A
// Reload makes a new one. It belongs to one goroutine, the loop's: find adds instances to it.
type library struct {
	units map[string]*definition // by name, templates among them; an alias has its unit's
	// wants are the .wants directories: what each unit pulls in.
	wants map[string][]string
	// user says whose units these are: it decides what %h, %t, %S and the like are.
	user bool

	dir       string
	facts     *facts
	requires  map[string][]string    // the .requires directories
	dropIns   map[string][]string    // files of the .d directories, by name without ".d"
	triggered map[string][]string    // socket units, by the service they start
	sources   map[string]source      // what units, and instances made so far, were read from
	texts     map[string]keptText    // files that instances are yet to be made of, by path
	instances map[string]*definition // made by find, and targets of systemd's
	recent    *recent
}

// definition is one unit, its drop-ins and the links to it merged in, specifiers
// resolved, defaults of systemd filled in.
type definition struct {
	name        string
	kind        kind
	description string
	fragment    string
	dropIns     []string
	// digest of all its files: another one means that what runs is not what they say.
	digest string
	// load is "loaded", "not-found", "bad-setting" (refused; why says what) or "error".
	load string
	why  string
	// notes say what is ignored, once for each directive.
	notes []string
	// unordered is DefaultDependencies=no.
	unordered bool

	wants, requires, requisite, bindsTo, partOf, conflicts, before, after []string

	limit struct { // of starts
		interval time.Duration // 0: there is no limit
		burst    int
	}
	conditions []condition

	service *serviceDef
	timer   *timerDef
	socket  *socketDef
}

type kind uint8

const (
	kindService kind = iota
	kindTarget
	kindTimer
	kindSocket
	kindSlice
	kindOther // path, mount, …: refused
)

// condition is one Condition…= line; false skips the start.
type condition struct {
	key, value string // key is the part behind Condition, value has its specifiers resolved
	negate     bool   // "!"
	trigger    bool   // "|"
}

type serviceDef struct {
	typ string // simple, exec, oneshot, notify, forking (refused), …

	condition, pre, start, post, reload, stop, stopPost []command

	restart                 string // no, always, on-failure, on-abnormal, on-abort, on-watchdog, on-success
	restartSec              time.Duration
	restartSteps            int
	restartMaxDelay         time.Duration
	restartPrevent          exitSet
	restartForce            exitSet
	success                 exitSet
	remainAfterExit         bool
	guessMainPID            bool
	timeoutStart            time.Duration // of this and the lengths below 0 is none
	timeoutStop             time.Duration
	runtimeMax              time.Duration
	watchdog                time.Duration
	notifyAccess            string // none, main, exec, all
	killMode                string // control-group, mixed, process, none
	killSignal, finalSignal int
	restartKillSignal       int
	sendSIGHUP, sendSIGKILL bool
	oomPolicy               string
	memoryMax               int64 // bytes, -1 for none
	pidFile                 string
	sockets                 []string // Sockets=
	slice                   string
	exec                    execDef
}

// exitSet is a set of exit codes and signals: SuccessExitStatus=.
type exitSet struct {
	codes, signals map[int]bool
}

// command is one Exec line, specifiers resolved. Variables are resolved at the start,
// from the unit's environment.
type command struct {
	units.Command          // without Argv
	argv          []string // specifiers resolved, variables not
	// ignoreFailure ("-"), privileged ("+" or "!": not User=), noVars (":"), arg0 ("@")
	ignoreFailure, privileged, noVars, arg0 bool
}

// execDef is how a process of a unit is made: systemd.exec(5).
type execDef struct {
	user, group   string   // names or numbers, "" for the supervisor's own
	supplementary []string // SupplementaryGroups=
	dir           string   // "~" for the home of the user
	dirOptional   bool     // "-"
	root          string
	env           []string // NAME=value; the last of a name wins
	envFiles      []envFile
	passEnv       []string
	unsetEnv      []string
	umask         int              // -1: the supervisor's
	limits        map[string]limit // LimitNOFILE= …, by the part behind Limit
	nice          *int
	oomScore      *int
	ioClass       string
	ioPriority    *int
	noNewPrivs    bool
	searchPath    string       // ExecSearchPath=
	stdin         units.Stream // Path of the three is the path itself
	stdout        units.Stream
	stderr        units.Stream
	identifier    string // SyslogIdentifier=
	ignoreSIGPIPE bool
	runtimeDirs   []string // RuntimeDirectory=, StateDirectory=, LogsDirectory=, CacheDirectory=, absolute
	directoryMode int
	// maxLog and keepLogs are [X-Gm] LogMaxSize= and LogKeep=: of the engine's log files
	// and the declared ones. 0 is no rotation.
	maxLog   int64
	keepLogs int
}

type envFile struct {
	pattern  string
	optional bool
}

type limit struct{ soft, hard uint64 } // max uint64 is infinity

type timerDef struct {
	calendar                                     []units.Calendar
	onActive, onBoot, onStartup, onUnit, onInact []time.Duration // OnActiveSec= …
	accuracy, randomDelay                        time.Duration
	persistent                                   bool
	remain                                       bool // RemainAfterElapse=
	unit                                         string
}

type socketDef struct {
	listen       []listenDef
	service      string
	accept       bool
	mode         int // SocketMode=
	dirMode      int
	user, group  string
	backlog      int
	removeOnStop bool
	reusePort    bool
	bindIPv6Only string
	noDelay      bool
	keepAlive    bool
	freeBind     bool
	pipeSize     int
	names        []string // FileDescriptorName=
	writable     bool
}

// listenDef is one Listen…= line: stream, datagram, sequential packet or FIFO.
type listenDef struct {
	typ     string // stream, datagram, seqpacket, fifo
	address string // "3000", "127.0.0.1:80", "/run/x.sock", "@abstract", "[::]:80"
}
