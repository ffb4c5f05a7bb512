package main

import (
	"context"
	"iter"
	"os"
	"sync"
	"time"

	"gm/engine"
)

// lookForNew is how often gm logs -f looks whether units were installed.
const lookForNew = time.Second

// place is what tells one source from another: a file, or a unit in the engine's log.
type place struct{ unit, file string }

func placeOf(s *engine.LogSource) place {
	if s.File != "" {
		return place{file: s.File}
	}
	return place{unit: s.Unit}
}

// unknown returns the sources that known does not have, and adds them.
func unknown(known map[place]bool, sources []engine.LogSource) []engine.LogSource {
	var all []engine.LogSource
	for i := range sources {
		if at := placeOf(&sources[i]); !known[at] {
			known[at] = true
			all = append(all, sources[i])
		}
	}
	return all
}

// follow yields the lines of sources as engine.Logs does until ctx ends, and those of
// what is installed meanwhile: look finds the sources anew.
func follow(ctx context.Context, e engine.Engine, sources []engine.LogSource, q engine.LogOptions,
	look func(context.Context) ([]engine.LogSource, error),
) iter.Seq2[engine.LogLine, error] {
	type item struct {
		line engine.LogLine
		err  error
	}
	return func(yield func(engine.LogLine, error) bool) {
		inner, cancel := context.WithCancel(ctx)
		items := make(chan item, 256)
		idle := q.Idle
		q.Idle = nil
		var running sync.WaitGroup
		read := func(sources []engine.LogSource, q engine.LogOptions) {
			running.Go(func() {
				for line, err := range engine.Logs(inner, e, sources, q) {
					items <- item{line, err}
				}
			})
		}
		read(sources, q)
		running.Go(func() {
			known := map[place]bool{}
			unknown(known, sources)
			whenNew(inner, e.Dirs().Units, func(since time.Time) bool {
				all, err := look(inner)
				if err != nil {
					return false // the engine may be away: again, then
				}
				var files, others []engine.LogSource
				for _, s := range unknown(known, all) {
					if s.File != "" {
						files = append(files, s)
					} else {
						others = append(others, s)
					}
				}
				q := q
				if q.Since, q.Lines = since, -1; others != nil {
					read(others, q)
				}
				// The lines of a file may have no time, and it may be an old one.
				if q.Since, q.Lines = (time.Time{}), defaultLines; files != nil {
					read(files, q)
				}
				return true
			})
		})
		go func() {
			running.Wait()
			close(items)
		}()
		defer func() {
			cancel()
			for range items { // whoever sends must not wait for ever
			}
		}()
		for {
			var next item
			ok := true
			select {
			case next, ok = <-items:
			default:
				if idle != nil {
					idle()
				}
				next, ok = <-items
			}
			if !ok || !yield(next.line, next.err) {
				return
			}
		}
	}
}

// whenNew calls found once, and each time that files came into a directory or left it,
// with a time before that, until ctx ends. While found returns false it is called again.
func whenNew(ctx context.Context, dir string, found func(since time.Time) bool) {
	modified := func() time.Time {
		if info, err := os.Stat(dir); err == nil {
			return info.ModTime()
		}
		return time.Time{} // it is not there yet
	}
	tick := time.NewTicker(lookForNew)
	defer tick.Stop()
	// What the directory was like when the caller looked is not known.
	for before, looked := (time.Time{}), time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		at, now := time.Now(), modified()
		if now.Equal(before) || found(looked) {
			before, looked = now, at
		}
	}
}
