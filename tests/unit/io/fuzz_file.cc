#include "fuzz_file.h"

#include <fcntl.h>
#include <cerrno>

namespace berth::inline v0::io::fuzz {

File::File(RunState& state, Reactor& reactor, const std::string& folder, std::size_t number)
    : state_(state),
      reactor_(reactor),
      path_(folder + "/file-" + std::to_string(number)),
      new_path_(path_ + "-renamed") {}

void File::write(std::size_t bytes, std::uint64_t seed) {
  if (ending_ || stage_ == Stage::done) return;
  queue_.push_back(pattern(bytes, seed));
  if (idle()) begin(handle_ == kNoHandle ? Stage::open : Stage::write);
}

void File::cancel() {
  if (idle()) return;
  cancel_asked_ = was_cancelled_ = true;
  state_.call([&] { reactor_.cancel(step_); });
}

bool File::wind_up() {
  if (stage_ == Stage::done) return idle();
  if (!ending_ && queue_.empty() && idle()) {
    ending_ = true;
    begin(handle_ == kNoHandle ? Stage::open : Stage::sync);
  }
  return false;
}

void File::begin(Stage stage) {
  stage_ = stage;
  cancel_asked_ = false;
  step_.file = handle_;
  step_.path = renamed_ ? new_path_.c_str() : path_.c_str();
  switch (stage) {
    case Stage::open:
      step_.kind = FileOp::Kind::open;
      step_.flags = O_RDWR | O_CREAT;
      break;
    case Stage::write:
      step_.kind = FileOp::Kind::write;
      step_.from = queue_.front();
      step_.offset = content_.size();
      break;
    case Stage::sync:
      step_.kind = content_.size() % 2 == 0 ? FileOp::Kind::fsync : FileOp::Kind::fdatasync;
      break;
    case Stage::rename:
      step_.kind = FileOp::Kind::rename;
      step_.new_path = new_path_.c_str();
      break;
    case Stage::read:
      buffer_.assign(1 + content_.size() / 3, '?');
      step_.kind = FileOp::Kind::read;
      step_.into = buffer_;
      step_.offset = read_back_.size();
      break;
    case Stage::unlink:
      step_.kind = FileOp::Kind::unlink;
      break;
    case Stage::close:
      step_.kind = FileOp::Kind::close;
      break;
    case Stage::done:
      return;
  }
  ++state_.operations;
  state_.call([&] { reactor_.start(step_); });
}

bool File::may_fail(std::int64_t result) const {
  return state_.hostile && (result == -ENOSPC || result == -EMFILE);
}

void File::stepped(std::int64_t result) {
  state_.in_callback(path_);
  if (step_.started()) complain("started in its callback");
  if (result == -ECANCELED) {
    if (!cancel_asked_) complain("cancelled by nobody");
    return go_on(stage_);
  }
  if (may_fail(result)) return go_on(stage_);
  if (result < 0) {
    complain("a step ended by errno " + std::to_string(-result));
    stage_ = Stage::done;
    return;
  }
  go_on(after_success(result));
}

File::Stage File::after_success(std::int64_t result) {
  const std::size_t count = static_cast<std::size_t>(result);
  switch (stage_) {
    case Stage::open:
      handle_ = static_cast<Handle>(result);
      return ending_ ? Stage::sync : Stage::write;
    case Stage::write:
      if (count == 0 || count > queue_.front().size()) {
        complain("wrote " + std::to_string(count));
        return Stage::close;
      }
      content_.append(queue_.front(), 0, count);
      queue_.front().erase(0, count);
      if (queue_.front().empty()) queue_.pop_front();
      if (queue_.empty() && !renamed_ && content_.size() % 3 == 0) return Stage::rename;
      return Stage::write;
    case Stage::sync:
      return Stage::read;
    case Stage::rename:
      renamed_ = true;
      return Stage::write;
    case Stage::read:
      if (count > buffer_.size()) complain("read more than there was room for");
      read_back_.append(buffer_, 0, count);
      if (count > 0) return Stage::read;
      if (read_back_ != content_) complain("other bytes than were written");
      return Stage::unlink;
    case Stage::unlink:
      return Stage::close;
    case Stage::close:
    case Stage::done:
      break;
  }
  handle_ = kNoHandle;
  return Stage::done;
}

void File::go_on(Stage stage) {
  stage_ = stage;
  if (stage == Stage::done) return;
  const bool writes = stage == Stage::write || stage == Stage::open;
  if (writes && !ending_ && queue_.empty()) return;  // until there is more, or the end
  if (stage == Stage::write && queue_.empty()) stage = Stage::sync;
  begin(stage);
}

std::string File::outcome() const {
  if (was_cancelled_ || state_.hostile) return "cancelled";
  return std::to_string(content_.size()) + " bytes, digest " +
         std::to_string(std::hash<std::string>()(content_));
}

}  // namespace berth::inline v0::io::fuzz
