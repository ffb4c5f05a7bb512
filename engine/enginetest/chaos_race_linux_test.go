//go:build race

package enginetest

// raceDetector says that this test was built with the race detector; gm is, too, then.
const raceDetector = true
