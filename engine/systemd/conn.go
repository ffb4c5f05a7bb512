package systemd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"gm/engine"
)

const (
	service   = "org.freedesktop.systemd1"
	object    = dbus.ObjectPath("/org/freedesktop/systemd1")
	unitsPath = object + "/unit/"

	managerIface = service + ".Manager"
	unitIface    = service + ".Unit"
	serviceIface = service + ".Service"
	timerIface   = service + ".Timer"
	jobIface     = service + ".Job"
	propsIface   = "org.freedesktop.DBus.Properties"
)

const (
	connectLimit = 10 * time.Second
	// returnLimit is how long a systemd that was there is given to come back: it
	// closes its connections at daemon-reexec and listens again soon after.
	returnLimit = 5 * time.Second
	returnEvery = 50 * time.Millisecond

	// pendingLimit is how many calls may wait for their reply at a time. dbus-daemon
	// refuses more than 128 of one connection (max_replies_per_connection).
	pendingLimit = 100
)

type address struct {
	name    string // of D-Bus: unix:path=…
	private bool   // it is systemd itself, not a bus
}

// conn is one connection to a manager, over which any number of calls may go at a
// time. It is used until it breaks, and then replaced.
//
// It is not go-systemd's: that holds a lock while a job is being queued, so that
// jobs are queued one after the other, and never tells that the connection broke.
type conn struct {
	*dbus.Conn
	private  bool
	version  string
	unitPath []string

	slots chan struct{} // holds an element for each call under way

	mu sync.Mutex
	// jobs are those whose end is awaited, ended those that ended while a call that
	// queues a job was under way: its job may be one of them.
	jobs    map[dbus.ObjectPath][]chan string
	queuing int
	ended   map[dbus.ObjectPath]ended
	// disturbed is closed, and replaced, when signals may have been lost.
	disturbed  chan struct{}
	watches    map[*watch]bool
	subscribed bool
}

// connected returns the connection, a new one if the last one broke.
func (m *manager) connected(ctx context.Context) (*conn, error) {
	select {
	case m.dialing <- struct{}{}:
		defer func() { <-m.dialing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if m.conn.Connected() {
		return m.conn, nil
	}
	for end := time.Now().Add(returnLimit); ; {
		if m.closed.Load() {
			return nil, fmt.Errorf("%w: the connection was closed", engine.ErrUnreachable)
		}
		c, err := m.connect(ctx)
		if err == nil {
			m.conn = c
			return c, nil
		}
		if time.Now().After(end) {
			return nil, err
		}
		select {
		case <-time.After(returnEvery):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// connect makes a connection to the first address that answers.
func (m *manager) connect(ctx context.Context) (*conn, error) {
	var causes []error
	for _, a := range m.options.addresses() {
		c, err := dial(ctx, a)
		if err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("cannot connect to systemd: %w", ctx.Err())
		}
		causes = append(causes, err)
	}
	return nil, m.options.unreachable(errors.Join(causes...))
}

// dial connects and asks the manager who it is, so that a connection is one to
// systemd and not only to a bus on which it is not (yet).
func dial(ctx context.Context, a address) (_ *conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	name, _, _ := strings.Cut(strings.TrimPrefix(a.name, "unix:path="), ",")
	socket, err := new(net.Dialer).DialContext(ctx, "unix", name)
	if err != nil {
		return nil, err
	}
	// A systemd that is stuck accepts connections and never answers.
	stop := context.AfterFunc(ctx, func() { socket.Close() })
	defer func() {
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			socket.Close()
			err = fmt.Errorf("%s: %w", name, err)
		}
	}()

	c := &conn{
		private: a.private, slots: make(chan struct{}, pendingLimit),
		jobs: map[dbus.ObjectPath][]chan string{}, ended: map[dbus.ObjectPath]ended{},
		disturbed: make(chan struct{}), watches: map[*watch]bool{},
	}
	from := &stream{Conn: socket, r: bufio.NewReaderSize(socket, 64<<10), wanted: c.wanted}
	if c.Conn, err = dbus.NewConn(from, dbus.WithSignalHandler(c)); err != nil {
		return nil, err
	}
	if err := c.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))}); err != nil {
		return nil, err
	}
	hello := []*call{
		{path: object, method: propsIface + ".Get", args: []any{managerIface, "Version"}, into: []any{&c.version}},
		{path: object, method: propsIface + ".Get", args: []any{managerIface, "UnitPath"}, into: []any{&c.unitPath}},
	}
	if !a.private {
		if err := c.Hello(); err != nil {
			return nil, err
		}
		// systemd itself tells every peer everything; a bus has to be asked.
		hello = append(hello,
			match("type='signal',sender='"+service+"',interface='"+managerIface+"',member='JobRemoved'"),
			match("type='signal',sender='"+service+"',interface='"+managerIface+"',member='Reloading'"),
			match("type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='"+service+"'"))
	}
	return c, c.all(ctx, hello)
}

// call is a method call. What it answers goes into the variables, or to then.
type call struct {
	path   dbus.ObjectPath
	method string
	args   []any
	into   []any
	then   func(dbus.Variant) // for a Get, in place of into
	at     dbus.Sequence      // of the answer
}

func match(rule string) *call {
	return &call{path: "/org/freedesktop/DBus", method: "org.freedesktop.DBus.AddMatch", args: []any{rule}}
}

// get asks for one property of a unit.
func get(unit, iface, property string, then func(dbus.Variant)) *call {
	return &call{path: unitPath(unit), method: propsIface + ".Get", args: []any{iface, property}, then: then}
}

func unitPath(name string) dbus.ObjectPath {
	return unitsPath + dbus.ObjectPath(systemd.PathBusEscape(name))
}

// do makes one call.
func (c *conn) do(ctx context.Context, path dbus.ObjectPath, method string, args []any, into ...any) error {
	return c.all(ctx, []*call{{path: path, method: method, args: args, into: into}})
}

// all makes calls without waiting for the reply of one before it sends the next,
// and returns the first error. A unit that went away in the meantime is none for a
// Get.
func (c *conn) all(ctx context.Context, calls []*call) error {
	replies := make(chan *dbus.Call, pendingLimit)
	pending := map[*dbus.Call]*call{}
	var first error
	for len(calls) > 0 || len(pending) > 0 {
		// Those that have no slot yet must not keep the ones that others wait for.
		if len(calls) > 0 && (len(pending) == 0 || len(c.slots) < cap(c.slots)) {
			if err := c.acquire(ctx, len(pending) == 0); err == nil {
				next := calls[0]
				calls = calls[1:]
				sent := c.Object(next.destination(), next.path).GoWithContext(ctx, next.method, 0, replies, next.args...)
				pending[sent] = next
				continue
			} else if err != errBusy {
				return err
			}
		}
		reply := <-replies
		<-c.slots
		err := pending[reply].done(reply)
		if errors.Is(err, errBroken) {
			// A failed write tells of it before the reader sees the end, and the next
			// call is not to use this connection.
			c.Close()
		}
		if err != nil && first == nil {
			first, calls = err, nil
		}
		delete(pending, reply)
	}
	return first
}

var (
	errBusy   = errors.New("busy")
	errBroken = errors.New("the connection to systemd broke")
)

// acquire takes a slot, and says errBusy in place of waiting for one.
func (c *conn) acquire(ctx context.Context, wait bool) error {
	select {
	case c.slots <- struct{}{}:
		return nil
	default:
	}
	if !wait {
		return errBusy
	}
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k *call) destination() string {
	if k.path == "/org/freedesktop/DBus" {
		return "org.freedesktop.DBus"
	}
	return service
}

func (k *call) done(reply *dbus.Call) error {
	k.at = reply.ResponseSequence
	if reply.Err != nil {
		if k.then != nil && isError(reply.Err, errNoSuchUnit, errUnknownObject, errUnknownProperty, errUnknownInterface) {
			return nil
		}
		return explain(reply.Err)
	}
	if k.then == nil {
		return dbus.Store(reply.Body, k.into...)
	}
	var v dbus.Variant
	if err := dbus.Store(reply.Body, &v); err != nil {
		return err
	}
	k.then(v)
	return nil
}

// Names of errors: systemd's in bus-common-errors.h, D-Bus's in its specification.
const (
	errNoSuchUnit       = service + ".NoSuchUnit"
	errDestructive      = service + ".TransactionIsDestructive"
	errUnknownObject    = "org.freedesktop.DBus.Error.UnknownObject"
	errUnknownProperty  = "org.freedesktop.DBus.Error.UnknownProperty"
	errUnknownInterface = "org.freedesktop.DBus.Error.UnknownInterface"
	errLimitsExceeded   = "org.freedesktop.DBus.Error.LimitsExceeded"
)

// isError reports whether an error is a reply of one of these names.
func isError(err error, names ...string) bool {
	var reply dbus.Error
	if !errors.As(err, &reply) {
		return false
	}
	for _, name := range names {
		if reply.Name == name {
			return true
		}
	}
	return false
}

// explain has the error of a call wrap what engine.Engine promises.
func explain(err error) error {
	var reply dbus.Error
	var malformed dbus.InvalidMessageError // a name that no D-Bus path can have
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.As(err, &malformed):
		return err
	case !errors.As(err, &reply):
		// The socket's own: it is closed, or about to be.
		return fmt.Errorf("%w: %w: %w", engine.ErrUnreachable, errBroken, err)
	}
	switch name := reply.Name; {
	case name == "org.freedesktop.DBus.Error.AccessDenied", name == "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
		name == "org.freedesktop.DBus.Error.AuthFailed", strings.HasPrefix(name, "org.freedesktop.PolicyKit"):
		return fmt.Errorf("%w: %w", engine.ErrDenied, err)
	// What the bus says when systemd left it before it answered.
	case name == "org.freedesktop.DBus.Error.NoReply", name == "org.freedesktop.DBus.Error.Disconnected",
		name == "org.freedesktop.DBus.Error.ServiceUnknown", name == "org.freedesktop.DBus.Error.NameHasNoOwner",
		strings.HasPrefix(name, "org.freedesktop.DBus.Error.Spawn."):
		return fmt.Errorf("%w: systemd is not on the bus: %w", engine.ErrUnreachable, err)
	}
	return err
}

// DeliverSignal is called for each signal, in the order of all messages, by the
// only reader of the connection: it must not wait for anything.
func (c *conn) DeliverSignal(_, _ string, s *dbus.Signal) {
	switch s.Name {
	case managerIface + ".JobRemoved":
		var id uint32
		var path dbus.ObjectPath
		var unit, result string
		if dbus.Store(s.Body, &id, &path, &unit, &result) == nil {
			c.jobEnded(path, ended{id, unit, result})
		}
	case managerIface + ".Reloading":
		var begins bool
		if dbus.Store(s.Body, &begins) == nil && !begins {
			c.disturb()
		}
	case "org.freedesktop.DBus.NameOwnerChanged":
		c.disturb()
	case propsIface + ".PropertiesChanged":
		c.changed(s)
	}
}

// disturb has everyone who relies on signals look for himself.
func (c *conn) disturb() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.disturbed)
	c.disturbed = make(chan struct{})
}

func (c *conn) disturbance() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.disturbed
}
