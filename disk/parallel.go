package disk

import "sync"

// writers is how many files are read or written at once. File systems serialise
// most of the work on one directory; the second writer renders meanwhile.
const writers = 2

// syncers is how many files are synced at once: file systems write the journal
// once for all that wait for it.
const syncers = 16

// Parallel calls f for each index, as many at once as reading or writing small
// files gains from. It returns the error of the lowest index that failed; after an
// error no further index is begun.
func Parallel(n int, f func(i int) error) error { return parallel(n, writers, f) }

func parallel(n, workers int, f func(i int) error) error {
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		next    int
		failed  = n
		problem error
	)
	for range min(workers, n) {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				stop := i >= n || problem != nil
				mu.Unlock()
				if stop {
					return
				}
				if err := f(i); err != nil {
					mu.Lock()
					if i < failed {
						failed, problem = i, err
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return problem
}
