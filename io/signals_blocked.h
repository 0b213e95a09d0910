// io/signals_blocked.h — a stretch of code that no signal interrupts.
#pragma once

#include <pthread.h>
#include <signal.h>

namespace berth::inline v0::io {

/// Blocks all signals of this thread for its life; threads started meanwhile keep them blocked.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

}  // namespace berth::inline v0::io
