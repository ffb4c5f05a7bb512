package translate

import (
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/tailscale/hujson"
)

// A list of apps that is larger than largeList is read in pieces of about
// pieceSize: side by side on several CPUs, and with the syntax tree of a piece
// or two in memory instead of the whole file's, which is many times the text.
const (
	largeList = 256 << 10
	pieceSize = 64 << 10
)

// readLarge reads a file that is, or holds under one key, a large list. It
// returns nil when the file has another shape or is no JSON with comments:
// readJSON then reads it in one go, and says what is wrong with it.
func (r *reader) readLarge() *value {
	open, end, commas := findList(r.text)
	if end-open < largeList {
		return nil
	}
	// The file with the list emptied tells where in it the list belongs.
	skeleton, err := hujson.Parse(slices.Concat(r.text[:open+1], r.text[end:]))
	if err != nil {
		return nil
	}
	around := reader{src: r.src, text: r.text, m: &messages{}}
	b := jsonBuilder{reader: &around, cut: open + 1, gap: end - open - 1}
	root := b.value(&skeleton)
	list := root
	for i := range root.members {
		if v := root.members[i].value; int(v.at.Start) == open {
			list = v
		}
	}
	if list.kind != kindArray || int(list.at.Start) != open {
		return nil
	}

	pieces := make([]*piece, len(commas)+1)
	var wait sync.WaitGroup
	limit := make(chan struct{}, runtime.GOMAXPROCS(0))
	from := open + 1
	for i := range pieces {
		to := end
		if i < len(commas) {
			to = commas[i]
		}
		p := &piece{reader: reader{src: r.src, text: r.text, m: &messages{}}, from: from, to: to, last: i == len(commas)}
		pieces[i], from = p, to+1
		limit <- struct{}{}
		wait.Go(func() {
			p.read()
			<-limit
		})
	}
	wait.Wait()

	found, values := around.m.list, around.values
	for _, p := range pieces {
		if values += p.values; !p.ok || values > maxValues {
			return nil
		}
		list.items = append(list.items, p.items...)
		found = append(found, p.m.list...)
	}
	r.values += values
	r.m.list = append(r.m.list, found[:min(len(found), maxRepeats)]...)
	return root
}

// piece is some neighbouring elements of a list.
type piece struct {
	reader
	from, to int
	last     bool
	items    []*value
	ok       bool
}

func (p *piece) read() {
	tree, err := hujson.Parse(slices.Concat([]byte("["), p.text[p.from:p.to], []byte("]")))
	if err != nil {
		return
	}
	// Between two pieces is one comma: an empty piece, or one that ends with a
	// comma of its own, is a mistake unless the list ends there.
	list, isList := tree.Value.(*hujson.Array)
	if !isList || !p.last && (len(list.Elements) == 0 || list.AfterExtra != nil) {
		return
	}
	b := jsonBuilder{reader: &p.reader, base: p.from - 1, cut: math.MaxInt}
	p.items = b.value(&tree).items
	p.values-- // the list itself is counted once, for the whole
	p.ok = !b.full
}

// findList finds the first list of a text, when it is the whole or a member of
// the outermost object: its brackets, and commas between elements at which it
// can be cut into pieces.
func findList(text []byte) (open, end int, commas []int) {
	depth, inside := 0, 0
	cut := 0
	structure(text, func(i int) bool {
		switch text[i] {
		case '[', '{':
			depth++
			if inside == 0 && text[i] == '[' {
				if depth > 2 {
					return false
				}
				open, inside, cut = i, depth, i
			}
		case ']', '}':
			if depth--; inside > 0 && depth < inside {
				end = i
				return false
			}
		case ',':
			if depth == inside && i-cut >= pieceSize {
				commas = append(commas, i)
				cut = i
			}
		}
		return true
	})
	return open, end, commas
}
