package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/host/internal/lifecycle"
)

// A group ends as a whole when one of its goroutines fails.
func ExampleGroup() {
	g := lifecycle.NewGroup(context.Background())
	g.Go(func(ctx context.Context) error {
		<-ctx.Done()
		fmt.Println("stopped because", context.Cause(ctx))
		return nil
	})
	g.Go(func(context.Context) error { return errors.New("the address is in use") })
	fmt.Println(g.Wait())
	// Output:
	// stopped because the address is in use
	// the address is in use
}

// A gate may be held over I/O, because a caller that waits for it can be called away.
func ExampleGate() {
	opening := lifecycle.NewGate()
	leave, err := opening.Enter(context.Background())
	if err != nil {
		return
	}
	defer leave()
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err = opening.Enter(ctx)
	fmt.Println(err)
	// Output: context deadline exceeded
}
