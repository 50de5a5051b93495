//! Options as LiteRT's object: filled in by functions up to 2.1.2, by text from 2.1.3.

#![expect(unsafe_code, reason = "calls into a C library; every block says why it holds")]

use super::Settings;
use crate::litert::failed::{Failed, checked};
use crate::litert::ffi::{Api, Environment, Handle};
use std::{ffi::CString, rc::Rc};

/// Options of a compilation, and the strings that they only point to.
pub(in crate::litert) struct Options {
    environment: Rc<Environment>,
    pub(in crate::litert) handle: Handle,
    _kept: Vec<CString>,
}

impl Options {
    pub(in crate::litert) fn new(environment: &Rc<Environment>, settings: &Settings) -> Result<Self, Failed> {
        // SAFETY: a place for a handle.
        let create = |api: &Api, to: *mut Handle| unsafe { (api.create_options)(to) };
        let handle = environment.library.handle("creating options", create)?;
        let mut options = Self { environment: Rc::clone(environment), handle, _kept: Vec::new() };
        // SAFETY: the handle was just made.
        let status = unsafe { (options.api().set_accelerators)(handle, settings.accelerators) };
        checked("choosing accelerators", status)?;
        if options.api().create_cpu_options.is_some() {
            options.by_calls(settings)?;
        } else {
            for (id, toml) in settings.toml() {
                options.text(id, &toml)?;
            }
        }
        Ok(options)
    }

    fn api(&self) -> &Api {
        &self.environment.library.api
    }

    /// As text, from 2.1.3.
    fn text(&self, id: &'static str, toml: &str) -> Result<(), Failed> {
        const WHAT: &str = "setting options";
        let id = CString::new(id).map_err(|_| Failed::nothing(WHAT))?;
        let toml = CString::new(toml).map_err(|_| Failed::nothing(WHAT))?;
        // SAFETY: the library gets a copy of its own, and what frees it; from then on it owns the options.
        unsafe {
            let copy = libc::strdup(toml.as_ptr()).cast();
            let opaque = self
                .environment
                .library
                .handle(WHAT, |api, to| (api.create_opaque)(id.as_ptr(), copy, libc::free, to))?;
            checked(WHAT, (self.api().add_opaque)(self.handle, opaque))
        }
    }

    /// By functions, up to 2.1.2.
    fn by_calls(&mut self, settings: &Settings) -> Result<(), Failed> {
        const WHAT: &str = "setting options";
        let missing = || Failed::nothing(WHAT);
        let library = Rc::clone(&self.environment.library);
        let api = &library.api;
        let (Some(create_cpu), Some(find_cpu)) = (api.create_cpu_options, api.find_cpu_options) else {
            return Err(missing());
        };
        let (Some(create_run), Some(find_run)) = (api.create_runtime_options, api.find_runtime_options)
        else {
            return Err(missing());
        };
        let set_profiling = api.set_profiling.ok_or_else(missing)?;
        let set_reporter = api.set_error_reporter.ok_or_else(missing)?;
        let set_threads = api.set_threads.ok_or_else(missing)?;
        // SAFETY: the handles are the library's own; the path is kept for as long as the options live.
        unsafe {
            let outer = library.handle(WHAT, |_, to| create_cpu(to))?;
            let inner = library.handle(WHAT, |_, to| find_cpu(outer, to))?;
            checked(WHAT, set_threads(inner, settings.threads))?;
            if let Some(flags) = settings.flags {
                checked(WHAT, api.set_flags.ok_or_else(missing)?(inner, flags))?;
            }
            if let Some(path) = &settings.weight_cache {
                let path = CString::new(path.as_bytes()).map_err(|_| missing())?;
                checked(WHAT, api.set_weight_cache.ok_or_else(missing)?(inner, path.as_ptr()))?;
                self._kept.push(path);
            }
            checked(WHAT, (api.add_opaque)(self.handle, outer))?;
            let outer = library.handle(WHAT, |_, to| create_run(to))?;
            let inner = library.handle(WHAT, |_, to| find_run(outer, to))?;
            checked(WHAT, set_profiling(inner, settings.profile))?;
            checked(WHAT, set_reporter(inner, settings.error_reporter()))?;
            checked(WHAT, (api.add_opaque)(self.handle, outer))
        }
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: made by the library and destroyed once, after the compiled model.
        unsafe { (self.api().destroy_options)(self.handle) }
    }
}
