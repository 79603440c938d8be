"""Run the tasks of a kernel on all threads, or one after the other: the same machine code.

A kernel splits its work into tasks and calls ``parallel_for(task, count, threads, args)``.
A task is a function ``(args, slot, index)`` under ``@task``: `index` says which piece of the work,
`slot` which scratch buffer is free for it. Tasks are claimed one by one, so a thread that is held
up does not hold up the others; what a task computes may depend on its index only, never on its
slot.

The parallel loop itself is compiled once for all kernels: it calls the task through a pointer.
"""

from llvmlite import ir
from numba import njit, prange, types
from numba.core import cgutils
from numba.core.callconv import RETCODE_USEREXC, excinfo_ptr_t
from numba.core.imputils import lower_constant
from numba.extending import intrinsic, models, register_model, typeof_impl

from fastmat.core.inline import inlined

i8, i64 = ir.IntType(8), ir.IntType(64)
_CALL = ir.FunctionType(ir.VoidType(), [i8.as_pointer(), i8.as_pointer(), i64, i64])


class Task:
    """A function of (args, slot, index), as a value that compiled code can be cached with.

    (Numba refuses to cache a function that passes a dispatcher on: it would hold its address.)
    """

    def __init__(self, function):
        self.dispatcher = inlined(function)


def task(function):
    """Decorator: a function of (args, slot, index) for `parallel_for`."""
    return Task(function)


class _TaskType(types.Opaque):
    def __init__(self, dispatcher):
        self.dispatcher = dispatcher
        function = dispatcher.py_func
        super().__init__(f"Task({function.__module__}.{function.__qualname__})")


register_model(_TaskType)(models.OpaqueModel)


@typeof_impl.register(Task)
def _typeof_task(value, context):
    return _TaskType(value.dispatcher)


@lower_constant(_TaskType)
def _constant_task(context, builder, type_, value):
    return context.get_dummy_value()


@njit(inline="always")
def parallel_for(
    task,  # what to run
    count,  # number of tasks
    threads,  # number of slots: at most so many tasks run at once
    args,  # tuple handed to every task
):
    entry, pinned, progress = _entry(task, args), _pin(args), _pin((0, 0))
    if threads < 2 or count < 2:
        _work(entry, pinned, progress, 0, count)
    else:
        _run(entry, pinned, progress, count, min(threads, count))
    _raise_failure(progress, args)


@njit
def _work(entry, args, progress, slot, count):
    """Claim tasks and do them until none is left."""
    index = _claim(progress)
    while index < count:
        _call(entry, args, progress, slot, index)
        index = _claim(progress)


@njit(parallel=True, nogil=True)
def _run(entry, args, progress, count, slots):
    for slot in prange(slots):
        _work(entry, args, progress, slot, count)


def _signature(typingctx, task, args):
    callee = types.Dispatcher(task.dispatcher)
    return typingctx.resolve_function_type(callee, (args, types.intp, types.intp), {})


@intrinsic
def _entry(typingctx, task, args):
    """Address of a C function (args, progress, slot, index) that calls the task."""
    signature = _signature(typingctx, task, args)

    def codegen(context, builder, _, values):
        result = task.dispatcher.get_compile_result(signature)
        context.add_linking_libs([result.library])
        name = f"{result.fndesc.llvm_func_name}.task"
        module = builder.module
        if name in module.globals:
            function = module.globals[name]
        else:
            function = ir.Function(module, _CALL, name)
            function.linkage = "internal"
            inner = ir.IRBuilder(function.append_basic_block())
            pointer, progress, slot, index = function.args
            data = context.get_value_type(args)
            unpacked = inner.load(inner.bitcast(pointer, data.as_pointer()), typ=data)
            callee = context.declare_function(module, result.fndesc)
            status, _ = context.call_conv.call_function(
                inner, callee, signature.return_type, signature.args, [unpacked, slot, index]
            )
            with cgutils.if_unlikely(inner, status.is_error):
                inner.store(inner.ptrtoint(status.excinfoptr, i64), _word(inner, progress, 1))
            inner.ret_void()
        return builder.ptrtoint(function, i64)

    return types.intp(task, args), codegen


@intrinsic
def _pin(typingctx, value):
    """Address of a copy of the value on the stack of the caller."""

    def codegen(context, builder, signature, values):
        return builder.ptrtoint(cgutils.alloca_once_value(builder, values[0]), i64)

    return types.intp(value), codegen


def _word(builder, progress, which):
    """Pointer to one of the two shared words: tasks claimed, an exception that a task raised."""
    pointer = builder.bitcast(progress, i64.as_pointer())
    return builder.gep(pointer, [ir.Constant(i64, which)], source_etype=i64)


@intrinsic
def _claim(typingctx, progress):
    """The number of a task that nobody else will do."""

    def codegen(context, builder, signature, values):
        pointer = _word(builder, builder.inttoptr(values[0], i64.as_pointer()), 0)
        return builder.atomic_rmw("add", pointer, ir.Constant(i64, 1), "monotonic")

    return types.intp(types.intp), codegen


@intrinsic
def _raise_failure(typingctx, progress, args):
    """Raise the exception of a task that failed. (Naming the arguments keeps them till here.)"""

    def codegen(context, builder, signature, values):
        convention = context.call_conv
        pointer = _word(builder, builder.inttoptr(values[0], i64.as_pointer()), 1)
        exception = builder.inttoptr(builder.load(pointer, typ=i64), excinfo_ptr_t)
        with cgutils.if_unlikely(builder, cgutils.is_not_null(builder, exception)):
            status = convention._get_return_status(builder, RETCODE_USEREXC, exception)
            convention.return_status_propagate(builder, status)
        return context.get_dummy_value()

    return types.void(types.intp, args), codegen


@intrinsic
def _call(typingctx, entry, args, progress, slot, index):
    def codegen(context, builder, signature, values):
        entry, args, progress, slot, index = values
        function = builder.inttoptr(entry, _CALL.as_pointer())
        pointers = [builder.inttoptr(value, i8.as_pointer()) for value in (args, progress)]
        builder.call(function, [*pointers, slot, index])
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), codegen
