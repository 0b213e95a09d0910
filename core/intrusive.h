// core/intrusive.h — a doubly linked list whose links live in its elements: no allocation, O(1)
// removal.
#pragma once

#include <berth/core/assert.h>

#include <cstddef>

namespace berth::inline v0 {

/// Base of everything that can be in one IntrusiveList at a time. Unlinks itself when destroyed.
class ListNode {
 public:
  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  ~ListNode() { unlink(); }

  bool linked() const { return next_ != nullptr; }

  /// Leaves the list it is in, if any.
  void unlink() {
    if (next_ == nullptr) return;
    prev_->next_ = next_;
    next_->prev_ = prev_;
    next_ = prev_ = nullptr;
  }

 private:
  template <typename T>
  friend class IntrusiveList;
  ListNode* next_ = nullptr;
  ListNode* prev_ = nullptr;
};

/// A list of `T`s (which derive from ListNode), owned by somebody else. Not thread-safe.
template <typename T>
class IntrusiveList {
 public:
  IntrusiveList() { head_.next_ = head_.prev_ = &head_; }
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;
  ~IntrusiveList() {
    while (pop_front() != nullptr) {
    }
    head_.next_ = head_.prev_ = nullptr;
  }

  bool empty() const { return head_.next_ == &head_; }

  void push_back(T& element) {
    ListNode& node = element;
    BERTH_ASSERT(!node.linked());
    node.prev_ = head_.prev_;
    node.next_ = &head_;
    head_.prev_->next_ = &node;
    head_.prev_ = &node;
  }

  T* front() { return empty() ? nullptr : static_cast<T*>(head_.next_); }

  T* pop_front() {
    if (empty()) return nullptr;
    T* element = static_cast<T*>(head_.next_);
    static_cast<ListNode*>(element)->unlink();
    return element;
  }

  /// Moves all elements of `other` behind ours; `other` is empty afterwards.
  void splice_back(IntrusiveList& other) {
    if (other.empty()) return;
    ListNode* first = other.head_.next_;
    ListNode* last = other.head_.prev_;
    other.head_.next_ = other.head_.prev_ = &other.head_;
    first->prev_ = head_.prev_;
    head_.prev_->next_ = first;
    last->next_ = &head_;
    head_.prev_ = last;
  }

  /// Calls `fn(T&)` for each element; `fn` may unlink the element that it was given, no other.
  template <typename Fn>
  void for_each(Fn fn) {
    for_each_from(head_.next_, fn);
  }

  /// As for_each(), for the elements behind the last one for which `wanted(const T&)` does not
  /// hold. Costs nothing for those before it.
  template <typename Wanted, typename Fn>
  void for_each_of_end(Wanted wanted, Fn fn) {
    ListNode* first = &head_;
    while (first->prev_ != &head_ && wanted(*static_cast<const T*>(first->prev_))) {
      first = first->prev_;
    }
    for_each_from(first, fn);
  }

 private:
  template <typename Fn>
  void for_each_from(ListNode* node, Fn& fn) {
    while (node != &head_) {
      ListNode* next = node->next_;
      fn(*static_cast<T*>(node));
      node = next;
    }
  }

  ListNode head_;
};

}  // namespace berth::inline v0
